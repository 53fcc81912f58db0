package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"careplane.example/integration/mesh/cluster/internal/control"
	"careplane.example/integration/mesh/cluster/internal/cri"
	"careplane.example/integration/mesh/cluster/internal/network"
	"careplane.example/integration/mesh/cluster/internal/node"
	"careplane.example/integration/mesh/cluster/internal/storage"
	"github.com/google/go-containerregistry/pkg/registry"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
)

// kubernetesIP is the first address of the services: kube-apiserver's own.
const kubernetesIP = "10.96.0.1"

// pairs is a flag that may be given several times, as NAME=VALUE.
type pairs map[string][]string

func (p pairs) String() string { return "" }

func (p pairs) Set(argument string) error {
	name, value, ok := strings.Cut(argument, "=")
	if !ok || name == "" {
		return fmt.Errorf("%q is not NAME=VALUE", argument)
	}
	p[name] = append(p[name], value)
	return nil
}

func up(arguments []string) error {
	flags := flag.NewFlagSet("up", flag.ExitOnError)
	directory := flags.String("directory", "", "where the cluster keeps everything; must not exist or be empty")
	workspace := flags.String("workspace", ".", "the repository, whose .tools holds the programs")
	envoy := flags.String("envoy", "", "the Envoy of the pods (default: the newest .tools/envoy-*)")
	environment, hosts := pairs{}, pairs{}
	flags.Var(environment, "env", "IMAGE=KEY=VALUE: a variable that the image sets")
	flags.Var(hosts, "host", "NAME=ADDRESS: a name of the outside world")
	_ = flags.Parse(arguments)
	if *directory == "" || flags.NArg() > 0 {
		return errors.New("up needs --directory D and takes no other arguments")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go stopWithInput(stop)

	c, err := configure(*directory, *workspace, *envoy, environment, hosts)
	if err != nil {
		return err
	}
	if err := c.start(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-c.plane.Ended:
		return err
	}
}

// stopWithInput ends the cluster when its standard input is a pipe and the parent closes it. A terminal or /dev/null
// ends nothing.
func stopWithInput(stop func()) {
	info, err := os.Stdin.Stat()
	if err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 {
		return
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	stop()
}

type cluster struct {
	directory string
	images    *cri.Images
	program   string
	hosts     map[string]net.IP
	plane     *control.Plane
}

func configure(directory, workspace, envoy string, environment, hosts pairs) (*cluster, error) {
	directory, err := filepath.Abs(directory)
	if err != nil {
		return nil, err
	}
	if entries, err := os.ReadDir(directory); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("--directory %s is not empty: a cluster begins with nothing", directory)
	}
	workspace, err = filepath.Abs(workspace)
	if err != nil {
		return nil, err
	}
	if envoy == "" {
		found, _ := filepath.Glob(filepath.Join(workspace, ".tools/envoy-*/envoy/_bin/envoy"))
		if len(found) == 0 {
			return nil, fmt.Errorf("there is no Envoy in %s/.tools: run integration/install-envoy.sh VERSION", workspace)
		}
		envoy = found[len(found)-1]
	}
	addresses := map[string]net.IP{}
	for name, values := range hosts {
		if addresses[name] = net.ParseIP(values[0]); addresses[name] == nil {
			return nil, fmt.Errorf("--host %s=%s: not an address", name, values[0])
		}
	}
	tools := filepath.Join(workspace, ".tools/mesh")
	images, err := cri.NewImages(cri.Tools{Directory: tools, Envoy: envoy}, environment)
	if err != nil {
		return nil, err
	}
	plane, err := control.New(directory, network.NodeIP, network.ServiceCIDR, kubernetesIP)
	return &cluster{
		directory: directory,
		images:    images,
		program:   filepath.Join(tools, "pod"),
		hosts:     addresses,
		plane:     plane,
	}, err
}

func (c *cluster) path(name string) string { return filepath.Join(c.directory, name) }

func (c *cluster) start(ctx context.Context) error {
	began := time.Now()
	if err := c.isolate(); err != nil {
		return err
	}
	bridge, err := network.NewBridge()
	if err != nil {
		return err
	}
	if err := c.plane.Start(ctx); err != nil {
		return err
	}
	config, err := c.plane.Client()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	runtime, err := cri.New(c.path("sandboxes"), c.program, c.images, bridge, client.CoreV1())
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	services, err := network.NewServices(factory)
	if err != nil {
		return err
	}
	if err := storage.Provision(ctx, client, factory, c.path("volumes")); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	serve("dns", network.NewDNS(services, c.hosts).Serve)
	serve("streams", runtime.Serve)
	// Port 80 as well, for image references without a port.
	images := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	for _, port := range []string{"5000", "80"} {
		serve("registry", func() error { return http.ListenAndServe(network.NodeIP+":"+port, images) })
	}
	if err := node.Run(ctx, node.Config{
		Directory:   c.path("kubelet"),
		Logs:        c.path("pods"),
		IP:          network.NodeIP,
		DNS:         network.DNSIP,
		Certificate: c.plane.Certificate(),
		Key:         c.plane.Key(),
		Client:      config,
		Runtime:     runtime,
		Images:      cri.ImageService{Images: c.images},
	}); err != nil {
		return err
	}
	if err := usable(ctx, client); err != nil {
		return err
	}
	return c.announce(began)
}

// isolate hides what the kubelet and the volume provisioner write outside of the directory, and sends their messages
// into it.
func (c *cluster) isolate() error {
	if err := manyUsers(); err != nil {
		return err
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w (is this a mount namespace of its own? see integration/mesh/README.md)", err)
	}
	if err := syscall.Mount("tmpfs", "/var/log", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("hiding /var/log: %w", err)
	}
	// What runs beside the cluster finds services by name, as pods do.
	if err := os.WriteFile(c.path("resolv.conf"), []byte("nameserver "+network.DNSIP+"\n"), 0o644); err != nil {
		return err
	}
	if err := syscall.Mount(c.path("resolv.conf"), "/etc/resolv.conf", "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("replacing /etc/resolv.conf: %w", err)
	}
	messages, err := os.Create(c.path("logs/kubelet.log"))
	if err != nil {
		return err
	}
	kubelet := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(kubelet)
	for name, value := range map[string]string{"logtostderr": "false", "alsologtostderr": "false", "stderrthreshold": "FATAL", "one_output": "true"} {
		if err := kubelet.Set(name, value); err != nil {
			return err
		}
	}
	klog.SetOutput(messages)
	return nil
}

// manyUsers refuses a user namespace that has root alone: its user distinguishes a proxy from its application.
func manyUsers() error {
	content, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err
	}
	var users uint64
	for line := range strings.Lines(string(content)) {
		var inside, outside, count uint64
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err != nil {
			return fmt.Errorf("/proc/self/uid_map: %w", err)
		}
		users += count
	}
	if users < 1<<16 {
		return fmt.Errorf("this user namespace has %d users, pods need 65536: unshare with --map-auto (Debian: apt install uidmap)", users)
	}
	return nil
}

// usable waits until manifests can be applied: a ready node and the first service account.
func usable(ctx context.Context, client kubernetes.Interface) error {
	for {
		_, missing := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		self, err := client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
		if missing == nil && err == nil {
			for _, condition := range self.Status.Conditions {
				if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
					return nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// announce says in one line that the cluster can be used.
func (c *cluster) announce(began time.Time) error {
	line, err := json.Marshal(map[string]any{
		"ready":      true,
		"kubeconfig": c.plane.Kubeconfig(),
		"registry":   network.NodeIP + ":5000",
		"seconds":    time.Since(began).Seconds(),
	})
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if err := os.WriteFile(c.path("cluster.json"), line, 0o644); err != nil {
		return err
	}
	_, err = os.Stdout.Write(line)
	return err
}

// serve runs a server that the cluster cannot be without.
func serve(name string, run func() error) {
	go func() {
		fmt.Fprintf(os.Stderr, "cluster: %s: %v\n", name, run())
		os.Exit(1)
	}()
}
