// Package network is what makes addresses and names of a cluster work: a bridge that pods hang on, service addresses
// that lead to ready endpoints, and DNS.
package network

import (
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// NodeIP is the node, on the network of the pods.
	NodeIP = "10.244.0.1"
	// ServiceCIDR is where services get theirs from.
	ServiceCIDR = "10.96.0.0/16"
	// DNSIP answers names.
	DNSIP = "10.96.0.10"

	bridgeName = "pods"
)

// Bridge is the pod network of the one node.
type Bridge struct {
	link *netlink.Bridge

	mutex sync.Mutex
	last  uint16
}

// NewBridge sets up the network namespace of the caller: loopback, the bridge, and every service address as one of its
// own, so that whatever is sent to one arrives here.
func NewBridge() (*Bridge, error) {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return nil, fmt.Errorf("bringing up lo: %w", err)
	}
	_, services, _ := net.ParseCIDR(ServiceCIDR)
	local := &netlink.Route{LinkIndex: loopback.Attrs().Index, Dst: services, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST}
	if err := netlink.RouteReplace(local); err != nil {
		return nil, fmt.Errorf("taking the addresses of services: %w", err)
	}
	b := &Bridge{link: &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}}, last: 1}
	if err := netlink.LinkAdd(b.link); err != nil {
		return nil, fmt.Errorf("making a bridge: %w (is this a network namespace of its own? see integration/mesh/README.md)", err)
	}
	address, err := netlink.ParseAddr(NodeIP + "/16")
	if err != nil {
		return nil, err
	}
	if err := netlink.AddrAdd(b.link, address); err != nil {
		return nil, err
	}
	return b, netlink.LinkSetUp(b.link)
}

// Connect puts an interface with a new address into the network namespace of a process. Addresses are not used twice.
func (b *Bridge) Connect(pid int) (net.IP, error) {
	b.mutex.Lock()
	b.last++
	ip := net.IPv4(10, 244, byte(b.last>>8), byte(b.last))
	name := fmt.Sprintf("pod%d", b.last)
	b.mutex.Unlock()

	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: name, MasterIndex: b.link.Index},
		PeerName:      "eth0",
		PeerNamespace: netlink.NsPid(pid),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(pair); err != nil {
		return nil, err
	}
	return ip, ns.WithNetNSPath(fmt.Sprintf("/proc/%d/ns/net", pid), func(ns.NetNS) error {
		for _, name := range []string{"lo", "eth0"} {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if name == "eth0" {
				if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(16, 32)}}); err != nil {
					return err
				}
			}
			if err := netlink.LinkSetUp(link); err != nil {
				return err
			}
		}
		// Low ports are for every user, as container runtimes have it.
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0o644); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(NodeIP)})
	})
}
