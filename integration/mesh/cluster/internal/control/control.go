// Package control is the control plane: etcd in this process, kube-apiserver, kube-controller-manager and
// kube-scheduler as children, which are this program again under another first argument.
package control

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

const (
	etcdURL = "http://127.0.0.1:2379"
	// Server is where kube-apiserver answers.
	Server = "https://127.0.0.1:6443"
)

// Plane is a control plane whose state is in a directory.
type Plane struct {
	directory string
	// nodeIP is what the service `kubernetes` leads to.
	nodeIP, serviceCIDR string
	token               string
	etcd                *embed.Etcd
	// Ended gets the first child that ends.
	Ended chan error
}

// New writes keys, certificates and the kubeconfig of an administrator.
func New(directory, nodeIP, serviceCIDR, serviceIP string) (*Plane, error) {
	p := &Plane{directory: directory, nodeIP: nodeIP, serviceCIDR: serviceCIDR, token: rand.Text(), Ended: make(chan error, 8)}
	for _, name := range []string{"logs", "pki"} {
		if err := os.MkdirAll(p.path(name), 0o755); err != nil {
			return nil, err
		}
	}
	// One certificate for kube-apiserver and kubelet; its issuer, which signs nothing else, comes behind it in the file.
	addresses := []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP(nodeIP), net.ParseIP(serviceIP)}
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	certificate, key, err := certutil.GenerateSelfSignedCertKey("kubernetes", addresses, names)
	if err != nil {
		return nil, err
	}
	tokenKey, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		return nil, err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["mesh"] = &clientcmdapi.Cluster{Server: Server, CertificateAuthorityData: certificate}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{Token: p.token}
	config.Contexts["mesh"] = &clientcmdapi.Context{Cluster: "mesh", AuthInfo: "admin"}
	config.CurrentContext = "mesh"
	kubeconfig, err := clientcmd.Write(*config)
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{
		"pki/server.crt":         certificate,
		"pki/server.key":         key,
		"pki/serviceaccount.key": tokenKey,
		"pki/tokens.csv":         []byte(p.token + ",admin,admin,system:masters\n"),
		"kubeconfig":             kubeconfig,
	} {
		if err := os.WriteFile(p.path(name), content, 0o600); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Certificate and Key are files that any server of the cluster may use.
func (p *Plane) Certificate() string { return p.path("pki/server.crt") }

func (p *Plane) Key() string { return p.path("pki/server.key") }

// Kubeconfig is the file for administrators.
func (p *Plane) Kubeconfig() string { return p.path("kubeconfig") }

// Client is the configuration of an administrator, without a limit of its own to the rate of requests.
func (p *Plane) Client() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", p.Kubeconfig())
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return config, nil
}

// Start returns when kube-apiserver is ready; the controllers start then.
func (p *Plane) Start(ctx context.Context) error {
	if err := p.startEtcd(); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	if err := p.child("kube-apiserver",
		"--etcd-servers="+etcdURL,
		"--bind-address=0.0.0.0", "--secure-port=6443", "--advertise-address="+p.nodeIP,
		"--tls-cert-file="+p.Certificate(), "--tls-private-key-file="+p.Key(),
		"--token-auth-file="+p.path("pki/tokens.csv"), "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-signing-key-file="+p.path("pki/serviceaccount.key"),
		"--service-account-key-file="+p.path("pki/serviceaccount.key"),
		"--service-cluster-ip-range="+p.serviceCIDR,
		"--allow-privileged", "--kubelet-preferred-address-types=InternalIP",
		// Its taints are taken off again by a controller that does not run here.
		"--disable-admission-plugins=TaintNodesByCondition",
	); err != nil {
		return err
	}
	if err := p.ready(ctx); err != nil {
		return err
	}
	if err := p.child("kube-controller-manager",
		"--kubeconfig="+p.Kubeconfig(),
		"--service-account-private-key-file="+p.path("pki/serviceaccount.key"),
		"--root-ca-file="+p.Certificate(),
		"--leader-elect=false",
		// There is one node, which lives as long as this; no cloud; and no metrics of what pods use.
		"--controllers=*,-node-lifecycle-controller,-horizontal-pod-autoscaler-controller,-service-lb-controller,-node-route-controller,-cloud-node-lifecycle-controller",
		"--kube-api-qps=500", "--kube-api-burst=1000",
	); err != nil {
		return err
	}
	return p.child("kube-scheduler", "--kubeconfig="+p.Kubeconfig(), "--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000")
}

func (p *Plane) startEtcd() error {
	config := embed.NewConfig()
	config.Dir = p.path("etcd")
	client, _ := url.Parse(etcdURL)
	peer, _ := url.Parse("http://127.0.0.1:2380")
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	// Nothing here outlives the program, so nothing has to outlive the machine.
	config.UnsafeNoFsync = true
	config.LogLevel = "warn"
	config.LogOutputs = []string{p.path("logs/etcd.log")}
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	p.etcd = etcd
	<-etcd.Server.ReadyNotify()
	return nil
}

// child starts this program again as one of Kubernetes' own.
func (p *Plane) child(name string, arguments ...string) error {
	log, err := os.Create(p.path("logs/" + name + ".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	process := exec.Command(program, arguments...)
	process.Args[0] = name
	process.Stdout, process.Stderr = log, log
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		return err
	}
	go func() {
		p.Ended <- fmt.Errorf("%s ended: %w (see %s)", name, process.Wait(), log.Name())
	}()
	return nil
}

func (p *Plane) ready(ctx context.Context) error {
	config, err := p.Client()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	for {
		var status int
		client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status)
		if status == http.StatusOK {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-p.Ended:
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (p *Plane) path(name string) string { return filepath.Join(p.directory, name) }
