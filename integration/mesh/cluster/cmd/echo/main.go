// echo is the application of the pods in tests. It answers every request with what it got, and obeys its control port.
//
// Environment: ECHO_PORTS (HTTP/1.1 and h2c) and ECHO_TLS_PORTS (with ECHO_TLS_CERT and ECHO_TLS_KEY, files), lists
// with commas; ECHO_CONTROL, the control port (default 9900). POD_NAME, POD_NAMESPACE, SERVICE, POOL and RELEASE are
// repeated in the answers.
package main

import (
	"cmp"
	"log"
	"net/http"
	"os"
	"strings"
)

func main() {
	log.SetFlags(0)
	app := &application{identity: identity{
		Pod:       os.Getenv("POD_NAME"),
		Namespace: os.Getenv("POD_NAMESPACE"),
		Service:   os.Getenv("SERVICE"),
		Pool:      os.Getenv("POOL"),
		Release:   os.Getenv("RELEASE"),
	}}
	for _, port := range list("ECHO_PORTS") {
		server := newServer(port, app)
		go func() { log.Fatal(server.ListenAndServe()) }()
	}
	for _, port := range list("ECHO_TLS_PORTS") {
		server := newServer(port, app)
		go func() { log.Fatal(server.ListenAndServeTLS(os.Getenv("ECHO_TLS_CERT"), os.Getenv("ECHO_TLS_KEY"))) }()
	}
	log.Fatal(newServer(cmp.Or(os.Getenv("ECHO_CONTROL"), "9900"), app.control()).ListenAndServe())
}

func newServer(port string, handler http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{Addr: ":" + port, Handler: handler, Protocols: protocols}
}

// list is a variable split at its commas.
func list(variable string) []string {
	return strings.FieldsFunc(os.Getenv(variable), func(r rune) bool { return r == ',' || r == ' ' })
}
