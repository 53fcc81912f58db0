package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// configuration is where nginx's image reads it.
const configuration = "/etc/nginx/conf.d/default.conf"

// nginx stands for the image of that name. It serves files as the configuration says, of which it knows as much as the
// manifests use: an unknown directive is an error, so what is tested is what the file says.
func nginx([]string) error {
	text, err := os.ReadFile(configuration)
	if err != nil {
		return err
	}
	server, err := parseServer(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", configuration, err)
	}
	return http.ListenAndServe(":"+server.port, server)
}

type nginxServer struct {
	port      string
	locations []*nginxLocation
}

type nginxLocation struct {
	path        string
	exact       bool
	alias       string
	contentType string
	status      int
	headers     [][2]string
}

func parseServer(text string) (*nginxServer, error) {
	server := &nginxServer{}
	var location *nginxLocation
	for number, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(strings.TrimSuffix(strings.TrimSpace(line), ";"))
		var err error
		switch {
		case len(words) == 0:
		case words[0] == "}":
			location = nil
		case location == nil:
			location, err = server.directive(words)
		default:
			err = location.directive(words)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number+1, err)
		}
	}
	if server.port == "" {
		return nil, errors.New("there is no listen")
	}
	return server, nil
}

// directive returns the location that begins there, if one does.
func (s *nginxServer) directive(words []string) (*nginxLocation, error) {
	switch {
	case words[0] == "server" && len(words) == 2, words[0] == "server_tokens":
	case words[0] == "listen" && len(words) == 2:
		s.port = words[1]
	case words[0] == "location" && words[len(words)-1] == "{" && (len(words) == 3 || len(words) == 4 && words[1] == "="):
		location := &nginxLocation{path: words[len(words)-2], exact: len(words) == 4}
		s.locations = append(s.locations, location)
		return location, nil
	default:
		return nil, fmt.Errorf("%q is not known here", strings.Join(words, " "))
	}
	return nil, nil
}

func (l *nginxLocation) directive(words []string) (err error) {
	switch {
	case words[0] == "alias" && len(words) == 2:
		l.alias = words[1]
	case words[0] == "default_type" && len(words) == 2:
		l.contentType = words[1]
	case words[0] == "add_header" && len(words) == 3:
		l.headers = append(l.headers, [2]string{words[1], words[2]})
	case words[0] == "return" && len(words) == 2:
		l.status, err = strconv.Atoi(words[1])
	default:
		return fmt.Errorf("%q is not known here", strings.Join(words, " "))
	}
	return err
}

// find prefers an exact location, then the one with the longest path, as nginx does.
func (s *nginxServer) find(path string) (found *nginxLocation) {
	for _, one := range s.locations {
		if one.exact && one.path == path {
			return one
		}
		if !one.exact && strings.HasPrefix(path, one.path) && (found == nil || len(one.path) > len(found.path)) {
			found = one
		}
	}
	return found
}

func (s *nginxServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	location := s.find(r.URL.Path)
	if location == nil || location.alias == "" {
		status := http.StatusNotFound
		if location != nil && location.status != 0 {
			status = location.status
		}
		w.WriteHeader(status)
		return
	}
	file, err := os.Open(location.alias + strings.TrimPrefix(r.URL.Path, location.path))
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.IsDir() {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().Unix(), info.Size()))
	w.Header().Set("Content-Type", location.contentType)
	for _, header := range location.headers {
		w.Header().Set(header[0], header[1])
	}
	http.ServeContent(w, r, "", info.ModTime(), file)
}
