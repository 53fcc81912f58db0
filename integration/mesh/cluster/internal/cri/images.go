package cri

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"careplane.example/integration/mesh/cluster/internal/sandbox"
)

// Image is what stands for a container image on this node: programs of the node at the paths where the real image has
// them.
type Image struct {
	Entrypoint []string
	Env        []string
	// User runs the image where a pod names no user.
	User int64
	// Files maps a path in the container to one of the node.
	Files map[string]string
	// placeholder says that the pod's own command cannot be run.
	placeholder bool
}

// podProgram is cmd/pod, in a container.
const podProgram = "/usr/local/bin/pod"

// someone is the user of images that need no certain one: not root, so that pods with runAsNonRoot are admitted.
const someone = 65532

// Tools are where the programs are.
type Tools struct {
	// Directory is what integration/mesh/build.sh fills.
	Directory string
	Envoy     string
}

// Images knows an image by the last part of its name, whatever registry, tag or digest it has.
type Images struct {
	known map[string]Image
	tools Tools
}

// NewImages adds extra (NAME=KEY=VALUE) to the environment of the images.
func NewImages(tools Tools, extra map[string][]string) (*Images, error) {
	tool := func(name string) string { return filepath.Join(tools.Directory, name) }
	known := map[string]Image{
		"pilot": {
			Entrypoint: []string{"/usr/local/bin/pilot-discovery"},
			User:       1337,
			Files:      map[string]string{"/usr/local/bin/pilot-discovery": tool("pilot-discovery")},
			// A stock Envoy refuses configuration with Istio's own filters.
			Env: []string{"PILOT_ENABLE_METADATA_EXCHANGE=false", "PILOT_ENABLE_ALPN_FILTER=false"},
		},
		"proxyv2": {
			Entrypoint: []string{"/usr/local/bin/pilot-agent"},
			User:       1337,
			Files: map[string]string{
				podProgram:                   tool("pod"),
				"/usr/local/bin/pilot-agent": tool("pilot-agent"),
				"/usr/local/bin/envoy":       tools.Envoy,
				"/var/lib/istio/envoy/envoy_bootstrap_tmpl.json": tool("envoy_bootstrap.json"),
			},
		},
		"echo": {
			Entrypoint: []string{"/usr/local/bin/echo"},
			User:       someone,
			Files:      map[string]string{"/usr/local/bin/echo": tool("echo")},
		},
		"nginx-unprivileged": {
			Entrypoint: []string{podProgram, "nginx"},
			User:       101,
			Files:      map[string]string{podProgram: tool("pod")},
		},
		"jaeger": {
			Entrypoint: []string{"/cmd/jaeger/jaeger-linux"},
			User:       10001,
			Files:      map[string]string{"/cmd/jaeger/jaeger-linux": tool("jaeger")},
		},
	}
	for _, name := range []string{"opentelemetry-collector", "opentelemetry-collector-contrib", "opentelemetry-collector-k8s"} {
		known[name] = Image{Entrypoint: []string{"/otelcol"}, User: 10001, Files: map[string]string{"/otelcol": tool("otel-collector")}}
	}
	for name, variables := range extra {
		image, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("there is no image %q to give variables to: use one of %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		image.Env = append(image.Env, variables...)
		known[name] = image
	}
	return &Images{known: known, tools: tools}, nil
}

// Find never fails: what is not known becomes a placeholder.
func (i *Images) Find(reference string) Image {
	if image, ok := i.known[baseName(reference)]; ok {
		return image
	}
	return Image{
		Entrypoint:  []string{podProgram, "placeholder", reference},
		User:        someone,
		Files:       map[string]string{podProgram: filepath.Join(i.tools.Directory, "pod")},
		placeholder: true,
	}
}

// baseName is proxyv2 for docker.io/istio/proxyv2:1.31.0@sha256:….
func baseName(reference string) string {
	reference, _, _ = strings.Cut(reference, "@")
	name, _, _ := strings.Cut(path.Base(reference), ":")
	return name
}

// arguments is what runs: as everywhere, a command replaces the image's entry point, arguments stand behind either.
func (i Image) arguments(command, arguments []string, ports string) []string {
	if i.placeholder {
		return append(i.Entrypoint[:len(i.Entrypoint):len(i.Entrypoint)], portNumbers(ports)...)
	}
	if len(command) == 0 {
		command = i.Entrypoint
		if len(arguments) > 0 && arguments[0] == "istio-iptables" {
			// It runs programs that the node need not have; ours does the same without them.
			command, arguments = []string{podProgram, "capture"}, arguments[1:]
		}
	}
	return append(command[:len(command):len(command)], arguments...)
}

// portNumbers reads the annotation in which a kubelet keeps the ports of a container.
func portNumbers(annotation string) []string {
	var ports []struct {
		ContainerPort int `json:"containerPort"`
	}
	if json.Unmarshal([]byte(annotation), &ports) != nil {
		return nil
	}
	var numbers []string
	for _, port := range ports {
		numbers = append(numbers, strconv.Itoa(port.ContainerPort))
	}
	return numbers
}

// environment puts the image's variables before the pod's, which win.
func (i Image) environment(pod []string) []string {
	base := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	return append(append(base, i.Env...), pod...)
}

func (i Image) mounts() []sandbox.Mount {
	var mounts []sandbox.Mount
	for target, source := range i.Files {
		mounts = append(mounts, sandbox.Mount{Source: source, Target: target, ReadOnly: true})
	}
	return mounts
}
