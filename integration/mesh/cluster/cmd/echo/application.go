package main

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// identity says which pod answers.
type identity struct {
	Service   string `json:"service"`
	Pod       string `json:"pod"`
	Namespace string `json:"namespace"`
	Pool      string `json:"pool"`
	Release   string `json:"release"`
}

// answer is the body of every response.
type answer struct {
	identity
	Method string `json:"method"`
	// Path is as it came: not decoded, with its query.
	Path       string      `json:"path"`
	Host       string      `json:"host"`
	Protocol   string      `json:"protocol"`
	Headers    [][2]string `json:"headers"`
	BodyLength int64       `json:"bodyLength"`
}

// seen is one request as the control port lists it.
type seen struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	RequestID string `json:"requestId"`
	Status    int    `json:"status"`
}

// failure is what the next requests get instead of an answer.
type failure struct {
	status, count int
	delay         time.Duration
}

// application answers requests. Callers may ask for a status (x-echo-status) and a delay (x-echo-delay-ms).
type application struct {
	identity

	mutex   sync.Mutex
	failure failure
	seen    []seen
}

// remembered is how many requests the control port can list.
const remembered = 10_000

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	length, _ := io.Copy(io.Discard, r.Body)
	status, delay := a.behaviour(r)
	a.remember(seen{Method: r.Method, Path: r.URL.RequestURI(), RequestID: r.Header.Get("x-request-id"), Status: status})
	if !wait(r.Context(), delay) {
		return
	}
	w.Header().Set("content-type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer{
		identity:   a.identity,
		Method:     r.Method,
		Path:       r.RequestURI,
		Host:       r.Host,
		Protocol:   r.Proto,
		Headers:    pairs(r.Header),
		BodyLength: length,
	})
}

// behaviour is a failure that the control port ordered, else what the request asks for.
func (a *application) behaviour(r *http.Request) (int, time.Duration) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.failure.count > 0 {
		a.failure.count--
		return a.failure.status, a.failure.delay
	}
	status, err := strconv.Atoi(r.Header.Get("x-echo-status"))
	if err != nil || status < 200 || status > 599 {
		status = http.StatusOK
	}
	return status, milliseconds(r.Header.Get("x-echo-delay-ms"))
}

func (a *application) remember(request seen) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if len(a.seen) == remembered {
		a.seen = a.seen[1:]
	}
	a.seen = append(a.seen, request)
}

// wait says whether the caller is still there afterwards.
func wait(ctx context.Context, delay time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(delay):
		return true
	}
}

func milliseconds(text string) time.Duration {
	number, _ := strconv.Atoi(text)
	return time.Duration(number) * time.Millisecond
}

// pairs lists headers by name, repeated ones in their order.
func pairs(headers http.Header) [][2]string {
	list := [][2]string{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		for _, value := range headers[name] {
			list = append(list, [2]string{strings.ToLower(name), value})
		}
	}
	return list
}
