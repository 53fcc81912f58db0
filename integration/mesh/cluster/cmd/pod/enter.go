package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"

	"golang.org/x/sys/unix"
)

// enter runs a command in the namespaces of a container: SANDBOX is the sandbox's process as the node numbers it,
// CONTAINER the container's as the pod does; 0 means the network alone. The environment is the caller's.
func enter(arguments []string) error {
	if len(arguments) < 3 {
		return errors.New("usage: pod enter SANDBOX CONTAINER COMMAND…")
	}
	sandbox, container, command := arguments[0], arguments[1], arguments[2:]
	process := "/proc/" + sandbox
	namespaces := []string{process + "/ns/net", process + "/ns/uts"}
	if container != "0" {
		namespaces = append(namespaces, process+"/ns/pid", process+"/root/proc/"+container+"/ns/mnt")
	}
	files := make([]*os.File, len(namespaces))
	for i, namespace := range namespaces {
		file, err := os.Open(namespace)
		if err != nil {
			return err
		}
		defer file.Close()
		files[i] = file
	}
	// A thread that shares its root with others cannot enter a mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	for _, file := range files {
		if err := unix.Setns(int(file.Fd()), 0); err != nil {
			return fmt.Errorf("entering %s: %w", file.Name(), err)
		}
	}
	child := exec.Command(command[0], command[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		return err
	}
	// Not Pdeathsig: Go takes a parent in another process namespace for a dead one.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM)
	go func() {
		<-stop
		_ = child.Process.Kill()
	}()
	err := child.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	return err
}
