// Package node is the cluster's one node: a real kubelet on a container runtime that runs processes. As in Kubernetes'
// own scale tests (kubemark), what measures and limits a machine is a stub; unlike there, pods, probes and volumes are
// real.
package node

import (
	"context"
	"time"

	cadvisorapi "github.com/google/cadvisor/info/v1"
	"github.com/moby/sys/userns"
	"go.opentelemetry.io/otel/trace/noop"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	internalapi "k8s.io/cri-api/pkg/apis"
	kubeletapp "k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/kubelet"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	cadvisor "k8s.io/kubernetes/pkg/kubelet/cadvisor/testing"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/kubelet/server"
	kubeletutil "k8s.io/kubernetes/pkg/kubelet/util"
	"k8s.io/kubernetes/pkg/util/oom"
	"k8s.io/kubernetes/pkg/volume"
	"k8s.io/kubernetes/pkg/volume/configmap"
	"k8s.io/kubernetes/pkg/volume/downwardapi"
	"k8s.io/kubernetes/pkg/volume/emptydir"
	"k8s.io/kubernetes/pkg/volume/hostpath"
	"k8s.io/kubernetes/pkg/volume/projected"
	"k8s.io/kubernetes/pkg/volume/secret"
	"k8s.io/kubernetes/pkg/volume/util/hostutil"
	"k8s.io/kubernetes/pkg/volume/util/subpath"
	"k8s.io/mount-utils"
)

// Name is the node's.
const Name = "node"

// Config is what differs from run to run.
type Config struct {
	// Directory holds the kubelet's state, Logs the logs of containers.
	Directory, Logs string
	IP, DNS         string
	// Certificate and Key serve the kubelet's API, for exec, logs and port-forward.
	Certificate, Key string
	Client           *rest.Config
	Runtime          internalapi.RuntimeService
	Images           internalapi.ImageManagerService
}

// Run starts the kubelet; it goes on in the background until the program ends.
func Run(ctx context.Context, config Config) error {
	if userns.RunningInUserNS() {
		if err := utilfeature.DefaultMutableFeatureGate.Set("KubeletInUserNamespace=true"); err != nil {
			return err
		}
	}
	client, err := kubernetes.NewForConfig(config.Client)
	if err != nil {
		return err
	}
	flags := options.NewKubeletFlags()
	flags.RootDirectory = config.Directory
	flags.HostnameOverride = Name
	flags.NodeIP = config.IP
	settings, err := settings(config)
	if err != nil {
		return err
	}
	dependencies := &kubelet.Dependencies{
		KubeClient:                client,
		HeartbeatClient:           client,
		EventClient:               client.CoreV1(),
		RemoteRuntimeService:      config.Runtime,
		RemoteImageService:        config.Images,
		CAdvisorInterface:         machine{&cadvisor.Fake{NodeName: Name}},
		ContainerManager:          cm.NewStubContainerManager(),
		OOMAdjuster:               oom.NewFakeOOMAdjuster(),
		VolumePlugins:             volumePlugins(),
		TLSOptions:                &server.TLSOptions{CertFile: config.Certificate, KeyFile: config.Key},
		HostUtil:                  hostutil.NewHostUtil(),
		PodStartupLatencyTracker:  kubeletutil.NewPodStartupLatencyTracker(),
		NodeStartupLatencyTracker: kubeletutil.NewNodeStartupLatencyTracker(),
		TracerProvider:            noop.NewTracerProvider(),
		// Volumes are plain directories: no tmpfs for a Secret, no bind for a subPath.
		Mounter:   mount.NewFakeMounter(nil),
		Subpather: &subpath.FakeSubpath{},
	}
	return kubeletapp.RunKubelet(ctx, &options.KubeletServer{KubeletFlags: *flags, KubeletConfiguration: *settings}, dependencies)
}

func settings(config Config) (*kubeletconfig.KubeletConfiguration, error) {
	c, err := options.NewKubeletConfiguration()
	if err != nil {
		return nil, err
	}
	c.Address = config.IP
	c.PodLogsDir = config.Logs
	c.ClusterDNS = []string{config.DNS}
	c.ClusterDomain = "cluster.local"
	c.ResolverConfig = ""
	c.CgroupsPerQOS = false
	c.EnforceNodeAllocatable = nil
	c.EvictionHard = nil
	c.MaxPods = 500
	c.RegisterNode = true
	c.EnableControllerAttachDetach = false
	c.FailSwapOn = false
	// Tests wait for what changes here.
	c.SyncFrequency = metav1.Duration{Duration: 5 * time.Second}
	c.CrashLoopBackOff.MaxContainerRestartPeriod = &metav1.Duration{Duration: time.Second}
	c.KubeAPIQPS, c.KubeAPIBurst = 200, 400
	c.EventRecordQPS = 0
	c.SerializeImagePulls = false
	c.ConfigMapAndSecretChangeDetectionStrategy = kubeletconfig.WatchChangeDetectionStrategy
	return c, nil
}

// machine is large enough for the requests of any manifest: this node does not limit.
type machine struct{ *cadvisor.Fake }

func (machine) MachineInfo() (*cadvisorapi.MachineInfo, error) {
	return &cadvisorapi.MachineInfo{NumCores: 64, MemoryCapacity: 256 << 30, MachineID: Name, SystemUUID: Name, BootID: Name}, nil
}

func volumePlugins() []volume.VolumePlugin {
	var plugins []volume.VolumePlugin
	plugins = append(plugins, emptydir.ProbeVolumePlugins()...)
	plugins = append(plugins, secret.ProbeVolumePlugins()...)
	plugins = append(plugins, downwardapi.ProbeVolumePlugins()...)
	plugins = append(plugins, configmap.ProbeVolumePlugins()...)
	plugins = append(plugins, projected.ProbeVolumePlugins()...)
	return append(plugins, hostpath.ProbeVolumePlugins(volume.VolumeConfig{})...)
}
