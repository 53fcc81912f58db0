package cri

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"careplane.example/integration/mesh/cluster/internal/sandbox"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// podSandbox is a pod: the process that holds its namespaces and starts its containers.
type podSandbox struct {
	id        string
	config    *runtimeapi.PodSandboxConfig
	created   time.Time
	directory string
	ip        net.IP
	process   *exec.Cmd
	requests  io.WriteCloser
	// ended is closed when the process is gone, and all processes of the pod with it.
	ended chan struct{}
}

func (s *podSandbox) state() runtimeapi.PodSandboxState {
	select {
	case <-s.ended:
		return runtimeapi.PodSandboxState_SANDBOX_NOTREADY
	default:
		return runtimeapi.PodSandboxState_SANDBOX_READY
	}
}

// ask writes one request; it is called under the runtime's lock.
func (s *podSandbox) ask(request sandbox.Request) error {
	return json.NewEncoder(s.requests).Encode(request)
}

func (r *Runtime) RunPodSandbox(_ context.Context, config *runtimeapi.PodSandboxConfig, _ string) (string, error) {
	name := config.Metadata.Namespace + "/" + config.Metadata.Name
	if options := config.GetLinux().GetSecurityContext().GetNamespaceOptions(); options.GetNetwork() == runtimeapi.NamespaceMode_NODE {
		return "", fmt.Errorf("pod %s asks for hostNetwork, which this cluster does not have", name)
	}
	s := &podSandbox{id: identifier(), config: config, created: time.Now(), ended: make(chan struct{})}
	s.directory = filepath.Join(r.directory, s.id)
	if err := os.MkdirAll(s.directory, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(s.directory, "resolv.conf"), resolvConf(config.DnsConfig), 0o644); err != nil {
		return "", err
	}
	s.process = exec.Command(r.program, "sandbox")
	s.process.Env = []string{}
	s.process.Stderr = os.Stderr
	s.process.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	requests, err := s.process.StdinPipe()
	if err != nil {
		return "", err
	}
	s.requests = requests
	// Not StdoutPipe: that one is closed by Wait, before its last events are read.
	events, writer, err := os.Pipe()
	if err != nil {
		return "", err
	}
	s.process.Stdout = writer
	err = s.process.Start()
	writer.Close()
	if err != nil {
		return "", err
	}
	go func() {
		r.follow(events)
		_ = s.process.Wait()
		close(s.ended)
		r.abandon(s.id)
	}()
	if s.ip, err = r.network.Connect(s.process.Process.Pid); err != nil {
		s.requests.Close()
		return "", fmt.Errorf("connecting pod %s: %w", name, err)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.sandboxes[s.id] = s
	return s.id, nil
}

// follow reads what happens to the containers of a pod until the pod ends.
func (r *Runtime) follow(events io.ReadCloser) {
	defer events.Close()
	decoder := json.NewDecoder(events)
	for {
		var event sandbox.Event
		if err := decoder.Decode(&event); err != nil {
			return
		}
		r.mutex.Lock()
		if c := r.containers[event.ID]; c != nil {
			c.happened(event)
		}
		r.mutex.Unlock()
	}
}

// abandon marks the containers of a pod that ended as killed.
func (r *Runtime) abandon(id string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, c := range r.containers {
		if c.sandbox.id == id && c.state == runtimeapi.ContainerState_CONTAINER_RUNNING {
			c.happened(sandbox.Event{ID: c.id, Exit: new(128 + int(syscall.SIGKILL))})
		}
	}
}

func (r *Runtime) StopPodSandbox(_ context.Context, id string) error {
	r.mutex.Lock()
	s := r.sandboxes[id]
	r.mutex.Unlock()
	if s == nil {
		return nil
	}
	s.requests.Close()
	<-s.ended
	return nil
}

func (r *Runtime) RemovePodSandbox(ctx context.Context, id string) error {
	if err := r.StopPodSandbox(ctx, id); err != nil {
		return err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	s := r.sandboxes[id]
	if s == nil {
		return nil
	}
	delete(r.sandboxes, id)
	for name, c := range r.containers {
		if c.sandbox == s {
			delete(r.containers, name)
		}
	}
	return os.RemoveAll(s.directory)
}

func (r *Runtime) PodSandboxStatus(_ context.Context, id string, _ bool) (*runtimeapi.PodSandboxStatusResponse, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	s := r.sandboxes[id]
	if s == nil {
		return nil, notFound("pod sandbox", id)
	}
	return &runtimeapi.PodSandboxStatusResponse{Status: &runtimeapi.PodSandboxStatus{
		Id:          id,
		Metadata:    s.config.Metadata,
		State:       s.state(),
		CreatedAt:   s.created.UnixNano(),
		Network:     &runtimeapi.PodSandboxNetworkStatus{Ip: s.ip.String()},
		Linux:       &runtimeapi.LinuxPodSandboxStatus{Namespaces: &runtimeapi.Namespace{Options: &runtimeapi.NamespaceOption{}}},
		Labels:      s.config.Labels,
		Annotations: s.config.Annotations,
	}}, nil
}

func (r *Runtime) ListPodSandbox(_ context.Context, filter *runtimeapi.PodSandboxFilter) ([]*runtimeapi.PodSandbox, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	var list []*runtimeapi.PodSandbox
	for _, s := range r.sandboxes {
		if filter.GetId() != "" && filter.GetId() != s.id ||
			filter.GetState() != nil && filter.GetState().State != s.state() ||
			!matches(s.config.Labels, filter.GetLabelSelector()) {
			continue
		}
		list = append(list, &runtimeapi.PodSandbox{
			Id:          s.id,
			Metadata:    s.config.Metadata,
			State:       s.state(),
			CreatedAt:   s.created.UnixNano(),
			Labels:      s.config.Labels,
			Annotations: s.config.Annotations,
		})
	}
	return list, nil
}

func resolvConf(dns *runtimeapi.DNSConfig) []byte {
	var file strings.Builder
	for _, server := range dns.GetServers() {
		fmt.Fprintln(&file, "nameserver", server)
	}
	if searches := dns.GetSearches(); len(searches) > 0 {
		fmt.Fprintln(&file, "search", strings.Join(searches, " "))
	}
	if options := dns.GetOptions(); len(options) > 0 {
		fmt.Fprintln(&file, "options", strings.Join(options, " "))
	}
	return []byte(file.String())
}

var errNotRunning = errors.New("the container is not running")
