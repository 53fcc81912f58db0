// pod is the inside of a pod: `pod sandbox` is its first process and starts the others, `pod init` turns into a
// container, `pod enter` runs one more command in a container, `pod capture` leads connections through the pod's proxy,
// `pod nginx` serves files as nginx does, `pod placeholder` stands for an image that this cluster does not have.
//
// It is a program of its own, and a small one, because every pod holds at least one.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func init() {
	// Namespaces belong to threads: what enters one has to stay on its thread.
	runtime.LockOSThread()
}

func main() {
	commands := map[string]func([]string) error{
		"sandbox":     func([]string) error { return runSandbox() },
		"init":        func([]string) error { return initContainer() },
		"enter":       enter,
		"capture":     capture,
		"nginx":       nginx,
		"placeholder": placeholder,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: pod sandbox | init | enter SANDBOX CONTAINER COMMAND… | capture OPTIONS | nginx | placeholder IMAGE PORT…")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "pod %s: %v\n", os.Args[1], err)
		os.Exit(128)
	}
}
