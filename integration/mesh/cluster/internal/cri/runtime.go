// Package cri is a container runtime without containers: it gives a kubelet, through the container runtime interface,
// pods whose containers are plain processes in namespaces of their own.
package cri

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
)

// gracePeriod is the longest that a container may take to end after it was asked to.
const gracePeriod = 5 * time.Second

// Network connects pods.
type Network interface {
	// Connect gives the network namespace of a process an address.
	Connect(pid int) (net.IP, error)
}

// Runtime implements the parts of the interface that a kubelet calls here; the embedded ones, which it does not, are
// nil.
type Runtime struct {
	internalapi.RuntimeService

	directory string
	program   string
	images    *Images
	network   Network
	pods      corev1client.PodsGetter
	streams   streaming.Server

	mutex      sync.Mutex
	sandboxes  map[string]*podSandbox
	containers map[string]*container
}

// New makes a runtime that keeps its files in directory and runs pods with program, which is cmd/pod.
func New(directory, program string, images *Images, network Network, pods corev1client.PodsGetter) (*Runtime, error) {
	r := &Runtime{
		directory:  directory,
		program:    program,
		images:     images,
		network:    network,
		pods:       pods,
		sandboxes:  map[string]*podSandbox{},
		containers: map[string]*container{},
	}
	config := streaming.DefaultConfig
	config.Addr = "127.0.0.1:10300"
	streams, err := streaming.NewServer(config, r.streaming())
	if err != nil {
		return nil, err
	}
	r.streams = streams
	return r, os.MkdirAll(directory, 0o755)
}

// Serve answers the connections of exec and port-forward, which the kubelet hands on.
func (r *Runtime) Serve() error { return r.streams.Start(true) }

func (r *Runtime) Version(context.Context, string) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{Version: "0.1.0", RuntimeName: "processes", RuntimeVersion: "0.1.0", RuntimeApiVersion: "v1"}, nil
}

func (r *Runtime) Status(context.Context, bool) (*runtimeapi.StatusResponse, error) {
	return &runtimeapi.StatusResponse{Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
		{Type: runtimeapi.RuntimeReady, Status: true},
		{Type: runtimeapi.NetworkReady, Status: true},
	}}}, nil
}

func (r *Runtime) UpdateRuntimeConfig(context.Context, *runtimeapi.RuntimeConfig) error { return nil }

func (r *Runtime) Close(context.Context) error { return nil }

// Resources are not limited here, so there is nothing to update and nothing to count.

func (r *Runtime) UpdateContainerResources(context.Context, string, *runtimeapi.ContainerResources) error {
	return nil
}

func (r *Runtime) ListContainerStats(context.Context, *runtimeapi.ContainerStatsFilter) ([]*runtimeapi.ContainerStats, error) {
	return nil, nil
}

func (r *Runtime) ListPodSandboxStats(context.Context, *runtimeapi.PodSandboxStatsFilter) ([]*runtimeapi.PodSandboxStats, error) {
	return nil, nil
}

func (r *Runtime) ReopenContainerLog(context.Context, string) error { return nil }

func identifier() string { return strings.ToLower(rand.Text()) }

func notFound(kind, id string) error {
	return status.Error(codes.NotFound, fmt.Sprintf("there is no %s %s", kind, id))
}

// matches says whether labels have all of the wanted ones.
func matches(labels, wanted map[string]string) bool {
	for name, value := range wanted {
		if labels[name] != value {
			return false
		}
	}
	return true
}
