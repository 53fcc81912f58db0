package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
)

// control is the port that tests use, past any proxy:
//
//	POST   /fail?status=503&count=10&delay-ms=0   the next requests fail so; count=0 takes it back
//	GET    /requests                              the last requests that were answered, oldest first
//	DELETE /requests                              forgets them
//	GET    /ready                                 200
//any    /call?url=…&via=HOST:PORT              sends the request on to url, connecting to via instead of the url's
//host, and
//	                                              answers what came back; 502 if nothing did
func (a *application) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /fail", a.fail)
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) {
		a.mutex.Lock()
		defer a.mutex.Unlock()
		_ = json.NewEncoder(w).Encode(append([]seen{}, a.seen...))
	})
	mux.HandleFunc("DELETE /requests", func(http.ResponseWriter, *http.Request) {
		a.mutex.Lock()
		defer a.mutex.Unlock()
		a.seen = nil
	})
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/call", call)
	return mux
}

func (a *application) fail(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	status, err := strconv.Atoi(query.Get("status"))
	if err != nil || status < 200 || status > 599 {
		http.Error(w, "status must be 200 to 599", http.StatusBadRequest)
		return
	}
	count, err := strconv.Atoi(query.Get("count"))
	if err != nil || count < 0 {
		http.Error(w, "count must be a number from 0", http.StatusBadRequest)
		return
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.failure = failure{status: status, count: count, delay: milliseconds(query.Get("delay-ms"))}
}

// call makes the pod a client, with the method, headers and body of the caller.
func call(w http.ResponseWriter, r *http.Request) {
	target, err := url.Parse(r.URL.Query().Get("url"))
	if err != nil || target.Host == "" {
		http.Error(w, "url must be like http://service.namespace:3001/path", http.StatusBadRequest)
		return
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	if via := r.URL.Query().Get("via"); via != "" {
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, via)
		}
	}
	request, err := http.NewRequestWithContext(r.Context(), r.Method, target.String(), r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	request.Header = r.Header.Clone()
	request.ContentLength = r.ContentLength
	response, err := transport.RoundTrip(request)
	if err != nil {
		http.Error(w, fmt.Sprintf("calling %s: %v", target, err), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	maps.Copy(w.Header(), response.Header)
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body)
}
