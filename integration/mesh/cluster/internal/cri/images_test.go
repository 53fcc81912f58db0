package cri

import (
	"slices"
	"strings"
	"testing"
)

var images, _ = NewImages(Tools{Directory: "/tools", Envoy: "/envoy"}, map[string][]string{"echo": {"COLOUR=red"}})

func TestAnImageIsKnownByTheLastPartOfItsName(t *testing.T) {
	for reference, entrypoint := range map[string]string{
		"docker.io/istio/proxyv2:1.31.0":                "/usr/local/bin/pilot-agent",
		"registry.example:5000/istio/pilot@sha256:0123": "/usr/local/bin/pilot-discovery",
		"echo": "/usr/local/bin/echo",
		"otel/opentelemetry-collector-contrib:0.140.1@sha256:89abcdef": "/otelcol",
		"docker.io/prom/prometheus:v3.10.0":                            podProgram,
		"docker.io/istio/proxyv2-debug":                                podProgram,
	} {
		if got := images.Find(reference).Entrypoint[0]; got != entrypoint {
			t.Errorf("%s runs %s, expected %s", reference, got, entrypoint)
		}
	}
}

func TestArgumentsAreThoseOfContainers(t *testing.T) {
	const ports = `[{"containerPort":9090},{"containerPort":8080,"name":"http"}]`
	for _, test := range []struct {
		image              string
		command, arguments []string
		runs               string
	}{
		{"echo", nil, nil, "/usr/local/bin/echo"},
		{"echo", nil, []string{"-v"}, "/usr/local/bin/echo -v"},
		{"echo", []string{"sh", "-c"}, []string{"true"}, "sh -c true"},
		{"proxyv2", nil, []string{"proxy", "router"}, "/usr/local/bin/pilot-agent proxy router"},
		{"proxyv2", nil, []string{"istio-iptables", "-p", "15001"}, podProgram + " capture -p 15001"},
		{"quay.io/kiali/kiali", []string{"/opt/kiali"}, []string{"-x"}, podProgram + " placeholder quay.io/kiali/kiali 9090 8080"},
	} {
		if got := strings.Join(images.Find(test.image).arguments(test.command, test.arguments, ports), " "); got != test.runs {
			t.Errorf("%s with %v %v runs %q, expected %q", test.image, test.command, test.arguments, got, test.runs)
		}
	}
}

func TestVariablesForAnUnknownImageAreRefused(t *testing.T) {
	_, err := NewImages(Tools{}, map[string][]string{"proxyv3": {"A=b"}})
	if err == nil || !strings.Contains(err.Error(), "proxyv2") {
		t.Errorf("%v, expected the images there are", err)
	}
}

func TestThePodsVariablesComeAfterTheImages(t *testing.T) {
	variables := images.Find("echo").environment([]string{"COLOUR=blue"})
	image, pod := slices.Index(variables, "COLOUR=red"), slices.Index(variables, "COLOUR=blue")
	if image < 0 || pod < image {
		t.Errorf("the image's is at %d, the pod's at %d of %v", image, pod, variables)
	}
}
