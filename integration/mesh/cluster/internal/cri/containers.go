package cri

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"careplane.example/integration/mesh/cluster/internal/sandbox"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	utilexec "k8s.io/utils/exec"
)

// container is one process of a pod, before, while and after it runs.
type container struct {
	id       string
	sandbox  *podSandbox
	config   *runtimeapi.ContainerConfig
	image    Image
	state    runtimeapi.ContainerState
	created  time.Time
	started  time.Time
	finished time.Time
	exit     int
	// pid is the process as the pod numbers it.
	pid int
	// up is closed when the process has started, ended when it has ended.
	up, ended chan struct{}
}

// happened takes over what the sandbox reports.
func (c *container) happened(event sandbox.Event) {
	if event.Exit == nil {
		c.pid = event.Pid
		close(c.up)
		return
	}
	if c.state == runtimeapi.ContainerState_CONTAINER_EXITED {
		return
	}
	c.state, c.exit, c.finished = runtimeapi.ContainerState_CONTAINER_EXITED, *event.Exit, time.Now()
	close(c.ended)
}

func (c *container) status() *runtimeapi.ContainerStatus {
	s := &runtimeapi.ContainerStatus{
		Id:          c.id,
		Metadata:    c.config.Metadata,
		State:       c.state,
		CreatedAt:   c.created.UnixNano(),
		ExitCode:    int32(c.exit),
		Image:       c.config.Image,
		ImageRef:    c.config.Image.Image,
		ImageId:     c.config.Image.Image,
		Labels:      c.config.Labels,
		Annotations: c.config.Annotations,
		Mounts:      c.config.Mounts,
		LogPath:     c.log(),
	}
	if !c.started.IsZero() {
		s.StartedAt = c.started.UnixNano()
	}
	if c.state == runtimeapi.ContainerState_CONTAINER_EXITED {
		s.FinishedAt = c.finished.UnixNano()
		s.Reason = "Completed"
		if c.exit != 0 {
			s.Reason = "Error"
		}
	}
	return s
}

func (c *container) log() string {
	return filepath.Join(c.sandbox.config.LogDirectory, c.config.LogPath)
}

// environment is what the pod asks for; a value given twice counts the last time.
func (c *container) environment() []string {
	var variables []string
	for _, variable := range c.config.Envs {
		variables = append(variables, variable.Key+"="+string(variable.Value))
	}
	return c.image.environment(append([]string{"HOSTNAME=" + c.sandbox.config.Hostname}, variables...))
}

func (r *Runtime) CreateContainer(_ context.Context, id string, config *runtimeapi.ContainerConfig, _ *runtimeapi.PodSandboxConfig) (string, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	s := r.sandboxes[id]
	if s == nil {
		return "", notFound("pod sandbox", id)
	}
	c := &container{
		id:      identifier(),
		sandbox: s,
		config:  config,
		image:   r.images.Find(config.Image.Image),
		state:   runtimeapi.ContainerState_CONTAINER_CREATED,
		created: time.Now(),
		up:      make(chan struct{}),
		ended:   make(chan struct{}),
	}
	r.containers[c.id] = c
	return c.id, nil
}

func (r *Runtime) StartContainer(ctx context.Context, id string) error {
	r.mutex.Lock()
	c := r.containers[id]
	r.mutex.Unlock()
	if c == nil {
		return notFound("container", id)
	}
	process, err := r.process(ctx, c)
	if err != nil {
		return err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	c.state, c.started = runtimeapi.ContainerState_CONTAINER_RUNNING, time.Now()
	return c.sandbox.ask(sandbox.Request{Start: process})
}

// process is what the container's configuration comes to on this node.
func (r *Runtime) process(ctx context.Context, c *container) (*sandbox.Container, error) {
	security := c.config.GetLinux().GetSecurityContext()
	process := &sandbox.Container{
		ID:       c.id,
		Args:     c.image.arguments(c.config.Command, c.config.Args, c.config.Annotations["io.kubernetes.container.ports"]),
		Env:      c.environment(),
		Dir:      cmp.Or(c.config.WorkingDir, "/"),
		User:     int(c.image.User),
		Root:     filepath.Join(c.sandbox.directory, "root-"+c.id),
		ReadOnly: security.GetReadonlyRootfs(),
		Mounts:   append(c.image.mounts(), sandbox.Mount{Source: filepath.Join(c.sandbox.directory, "resolv.conf"), Target: "/etc/resolv.conf"}),
		Log:      c.log(),
	}
	if c.image.placeholder {
		ends, err := r.ends(ctx, c)
		if err != nil {
			return nil, err
		}
		if ends {
			process.Args = []string{"true"}
		}
	}
	if user := security.GetRunAsUser(); user != nil {
		process.User = int(user.Value)
	}
	// Without a group of its own, a user's is the one of the same number here.
	process.Group = process.User
	if group := security.GetRunAsGroup(); group != nil {
		process.Group = int(group.Value)
	}
	for _, group := range security.GetSupplementalGroups() {
		process.Groups = append(process.Groups, int(group))
	}
	for _, mount := range c.config.Mounts {
		// A subPath of a volume need not exist yet.
		if _, err := os.Stat(mount.HostPath); os.IsNotExist(err) {
			if err := os.MkdirAll(mount.HostPath, 0o755); err != nil {
				return nil, err
			}
		}
		process.Mounts = append(process.Mounts, sandbox.Mount{Source: mount.HostPath, Target: mount.ContainerPath, ReadOnly: mount.Readonly})
	}
	return process, os.MkdirAll(process.Root, 0o755)
}

// ends says whether a container is there to finish: it prepares a pod, or is part of a job. The kubelet does not
// pass that on.
func (r *Runtime) ends(ctx context.Context, c *container) (bool, error) {
	metadata := c.sandbox.config.Metadata
	pod, err := r.pods.Pods(metadata.Namespace).Get(ctx, metadata.Name, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	for _, container := range pod.Spec.InitContainers {
		if container.Name == c.config.Metadata.Name {
			return container.RestartPolicy == nil, nil
		}
	}
	return pod.Spec.RestartPolicy != corev1.RestartPolicyAlways, nil
}

func (r *Runtime) StopContainer(_ context.Context, id string, timeout int64) error {
	r.mutex.Lock()
	c := r.containers[id]
	if c == nil || c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		r.mutex.Unlock()
		return nil
	}
	_ = c.sandbox.ask(sandbox.Request{Signal: &sandbox.Signal{ID: id, Number: syscall.SIGTERM}})
	r.mutex.Unlock()
	select {
	case <-c.ended:
		return nil
	case <-time.After(min(time.Duration(timeout)*time.Second, gracePeriod)):
	}
	r.mutex.Lock()
	_ = c.sandbox.ask(sandbox.Request{Signal: &sandbox.Signal{ID: id, Number: syscall.SIGKILL}})
	r.mutex.Unlock()
	<-c.ended
	return nil
}

func (r *Runtime) RemoveContainer(ctx context.Context, id string) error {
	if err := r.StopContainer(ctx, id, 0); err != nil {
		return err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if c := r.containers[id]; c != nil {
		delete(r.containers, id)
		_ = os.Remove(filepath.Join(c.sandbox.directory, "root-"+id))
	}
	return nil
}

func (r *Runtime) ListContainers(_ context.Context, filter *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	var list []*runtimeapi.Container
	for _, c := range r.containers {
		if filter.GetId() != "" && filter.GetId() != c.id ||
			filter.GetPodSandboxId() != "" && filter.GetPodSandboxId() != c.sandbox.id ||
			filter.GetState() != nil && filter.GetState().State != c.state ||
			!matches(c.config.Labels, filter.GetLabelSelector()) {
			continue
		}
		list = append(list, &runtimeapi.Container{
			Id:           c.id,
			PodSandboxId: c.sandbox.id,
			Metadata:     c.config.Metadata,
			Image:        c.config.Image,
			ImageRef:     c.config.Image.Image,
			ImageId:      c.config.Image.Image,
			State:        c.state,
			CreatedAt:    c.created.UnixNano(),
			Labels:       c.config.Labels,
			Annotations:  c.config.Annotations,
		})
	}
	return list, nil
}

func (r *Runtime) ContainerStatus(_ context.Context, id string, _ bool) (*runtimeapi.ContainerStatusResponse, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	c := r.containers[id]
	if c == nil {
		return nil, notFound("container", id)
	}
	return &runtimeapi.ContainerStatusResponse{Status: c.status()}, nil
}

// ExecSync runs the commands of probes and hooks. A placeholder has nothing that could fail.
func (r *Runtime) ExecSync(ctx context.Context, id string, command []string, timeout time.Duration) ([]byte, []byte, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	r.mutex.Lock()
	c := r.containers[id]
	r.mutex.Unlock()
	if c == nil {
		return nil, nil, notFound("container", id)
	}
	if c.image.placeholder {
		return nil, nil, nil
	}
	process, err := r.enter(ctx, id, command)
	if err != nil {
		return nil, nil, err
	}
	var stdout, stderr bytes.Buffer
	process.Stdout, process.Stderr = &stdout, &stderr
	err = process.Run()
	if exit, ok := err.(*exec.ExitError); ok {
		err = utilexec.CodeExitError{Err: fmt.Errorf("the command ended with %d", exit.ExitCode()), Code: exit.ExitCode()}
	}
	return stdout.Bytes(), stderr.Bytes(), err
}

// enter prepares a command in a running container.
func (r *Runtime) enter(ctx context.Context, id string, command []string) (*exec.Cmd, error) {
	r.mutex.Lock()
	c := r.containers[id]
	r.mutex.Unlock()
	if c == nil {
		return nil, notFound("container", id)
	}
	select {
	case <-c.ended:
		return nil, errNotRunning
	case <-c.up:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	pids := []string{strconv.Itoa(c.sandbox.process.Process.Pid), strconv.Itoa(c.pid)}
	process := exec.CommandContext(ctx, r.program, append(append([]string{"enter"}, pids...), command...)...)
	process.Env = c.environment()
	process.Cancel = func() error { return process.Process.Signal(syscall.SIGTERM) }
	// What the command leaves behind may hold its output open.
	process.WaitDelay = time.Second
	return process, nil
}
