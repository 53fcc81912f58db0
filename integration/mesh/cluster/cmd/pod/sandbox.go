package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"

	"careplane.example/integration/mesh/cluster/internal/sandbox"
	"golang.org/x/sys/unix"
)

// processes are the containers of the pod that run.
type processes struct {
	sync.Mutex
	pids   map[string]int
	events *json.Encoder
}

// runSandbox is process 1 of the pod. When its input ends, because the node did, it ends, and with it the pod's process
// namespace.
func runSandbox() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	running := &processes{pids: map[string]int{}, events: json.NewEncoder(os.Stdout)}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	go running.reap(ended)

	requests := json.NewDecoder(os.Stdin)
	for {
		var request sandbox.Request
		if err := requests.Decode(&request); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		switch {
		case request.Start != nil:
			if err := running.start(request.Start); err != nil {
				fmt.Fprintf(os.Stderr, "pod sandbox: %s: %v\n", request.Start.ID, err)
				running.report(sandbox.Event{ID: request.Start.ID, Exit: new(128)})
			}
		case request.Signal != nil:
			running.kill(request.Signal)
		}
	}
}

// start runs `pod init` in a mount namespace of its own, and sends it on file 3 what to become.
func (p *processes) start(container *sandbox.Container) error {
	specification, err := json.Marshal(container)
	if err != nil {
		return err
	}
	file, err := memoryFile(specification)
	if err != nil {
		return err
	}
	defer file.Close()
	log, err := openLog(container.Log)
	if err != nil {
		return err
	}
	stdout, err := log.stream("stdout")
	if err != nil {
		return err
	}
	defer stdout.Close()
	stderr, err := log.stream("stderr")
	if err != nil {
		return err
	}
	defer stderr.Close()
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer nothing.Close()

	// Under the lock, so that a process that ends at once is known before it is reaped.
	p.Lock()
	defer p.Unlock()
	process, err := os.StartProcess("/proc/self/exe", []string{"pod", "init"}, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{},
		Files: []*os.File{nothing, stdout, stderr, file},
		Sys:   &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Setsid: true},
	})
	if err != nil {
		return err
	}
	p.pids[container.ID] = process.Pid
	_ = p.events.Encode(sandbox.Event{ID: container.ID, Pid: process.Pid})
	return process.Release()
}

func (p *processes) kill(signal *sandbox.Signal) {
	p.Lock()
	defer p.Unlock()
	if pid, ok := p.pids[signal.ID]; ok {
		_ = unix.Kill(pid, signal.Number)
	}
}

func (p *processes) report(event sandbox.Event) {
	p.Lock()
	defer p.Unlock()
	_ = p.events.Encode(event)
}

// reap collects every process that ends in the pod: containers are reported, and what they leave behind is killed.
func (p *processes) reap(ended <-chan os.Signal) {
	for range ended {
		// One signal may stand for several processes.
		for p.reapOne() {
		}
	}
}

func (p *processes) reapOne() bool {
	var status unix.WaitStatus
	pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
	if errors.Is(err, unix.EINTR) {
		return true
	}
	if err != nil || pid == 0 {
		return false
	}
	p.Lock()
	defer p.Unlock()
	for id, first := range p.pids {
		if first != pid {
			continue
		}
		delete(p.pids, id)
		_ = unix.Kill(-pid, unix.SIGKILL)
		exit := status.ExitStatus()
		if status.Signaled() {
			exit = 128 + int(status.Signal())
		}
		_ = p.events.Encode(sandbox.Event{ID: id, Exit: &exit})
	}
	return true
}

// memoryFile is an anonymous file with content, at its beginning.
func memoryFile(content []byte) (*os.File, error) {
	descriptor, err := unix.MemfdCreate("container", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(descriptor), "container")
	if _, err := file.Write(content); err != nil {
		return nil, err
	}
	_, err = file.Seek(0, io.SeekStart)
	return file, err
}
