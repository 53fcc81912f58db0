package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
)

// placeholder stands for an image that this cluster does not have: it answers 200 on the ports that the container
// declares, so that probes, port-forwards and rollouts find what they look for.
func placeholder(arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("usage: pod placeholder IMAGE PORT…")
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "a placeholder for %s\n", arguments[0])
	})
	for _, port := range arguments[1:] {
		go func() {
			if err := http.ListenAndServe(":"+port, answer); err != nil {
				fmt.Fprintln(os.Stderr, "pod placeholder:", err)
			}
		}()
	}
	select {}
}
