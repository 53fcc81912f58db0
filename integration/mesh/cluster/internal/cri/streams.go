package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"

	"github.com/containernetworking/plugins/pkg/ns"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// streams is the runtime as the streaming server sees it.
type streams struct{ *Runtime }

func (r *Runtime) streaming() streaming.Runtime { return streams{r} }

func (r *Runtime) Exec(_ context.Context, request *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	return r.streams.GetExec(request)
}

func (r *Runtime) Attach(_ context.Context, request *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	return r.streams.GetAttach(request)
}

func (r *Runtime) PortForward(_ context.Context, request *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	return r.streams.GetPortForward(request)
}

func (s streams) Exec(ctx context.Context, id string, command []string, in io.Reader, out, err io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	process, failure := s.enter(ctx, id, command)
	if failure != nil {
		return failure
	}
	if in != nil {
		// Not process.Stdin: Wait would wait for a client that does not close its end.
		stdin, failure := process.StdinPipe()
		if failure != nil {
			return failure
		}
		go func() {
			_, _ = io.Copy(stdin, in)
			stdin.Close()
		}()
	}
	if out != nil {
		process.Stdout = out
	}
	if err != nil {
		process.Stderr = err
	}
	failure = process.Run()
	var exit *exec.ExitError
	if errors.As(failure, &exit) {
		return utilexec.CodeExitError{Err: fmt.Errorf("the command ended with %d", exit.ExitCode()), Code: exit.ExitCode()}
	}
	return failure
}

func (s streams) Attach(context.Context, string, io.Reader, io.WriteCloser, io.WriteCloser, bool, <-chan remotecommand.TerminalSize) error {
	return errors.New("attach is not supported: use exec or logs")
}

// PortForward connects to the loopback of the pod, as a kubelet's does.
func (s streams) PortForward(ctx context.Context, id string, port int32, stream io.ReadWriteCloser) error {
	s.mutex.Lock()
	pod := s.sandboxes[id]
	s.mutex.Unlock()
	if pod == nil {
		return notFound("pod sandbox", id)
	}
	var connection net.Conn
	err := ns.WithNetNSPath(fmt.Sprintf("/proc/%d/ns/net", pod.process.Process.Pid), func(ns.NetNS) (err error) {
		var dialer net.Dialer
		connection, err = dialer.DialContext(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
		return err
	})
	if err != nil {
		return err
	}
	defer connection.Close()
	go func() {
		_, _ = io.Copy(connection, stream)
		_ = connection.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, connection)
	return err
}
