package network

import (
	"net"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
)

const (
	zone = "svc.cluster.local."
	// NamesAnnotation on a Service lists names of the outside world, separated by commas, that lead to it: nothing else of
	// the outside exists here.
	NamesAnnotation = "cluster.careplane.io/names"
	// ttl is short because tests change things.
	ttl = 5
)

// DNS answers names of services, and the outside names that Services or the command line define; all others do not
// exist.
type DNS struct {
	services *Services
	hosts    map[string]net.IP
}

// NewDNS makes a server; hosts are names of the outside.
func NewDNS(services *Services, hosts map[string]net.IP) *DNS {
	return &DNS{services: services, hosts: hosts}
}

// Serve answers on the address that pods ask.
func (d *DNS) Serve() error {
	failed := make(chan error, 2)
	for _, protocol := range []string{"udp", "tcp"} {
		server := &dns.Server{Addr: net.JoinHostPort(DNSIP, "53"), Net: protocol, Handler: d}
		go func() { failed <- server.ListenAndServe() }()
	}
	return <-failed
}

// ServeDNS answers A; a name that exists has no records of other types.
func (d *DNS) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	reply := new(dns.Msg).SetReply(query)
	reply.Authoritative = true
	for _, question := range query.Question {
		addresses, exists := d.lookup(strings.ToLower(question.Name))
		if !exists {
			reply.Rcode = dns.RcodeNameError
		}
		if question.Qtype != dns.TypeA {
			continue
		}
		for _, address := range addresses {
			header := dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}
			reply.Answer = append(reply.Answer, &dns.A{Hdr: header, A: address})
		}
	}
	_ = w.WriteMsg(reply)
}

func (d *DNS) lookup(name string) ([]net.IP, bool) {
	if rest, ok := strings.CutSuffix(name, "."+zone); ok {
		parts := strings.Split(rest, ".")
		if len(parts) < 2 {
			return nil, false
		}
		// A pod of a headless service has a name before the service's; all of its addresses are an answer to that too.
		parts = parts[len(parts)-2:]
		service, err := d.services.services.Services(parts[1]).Get(parts[0])
		if err != nil {
			return nil, false
		}
		return d.addresses(service), true
	}
	name = strings.TrimSuffix(name, ".")
	if ip, ok := d.hosts[name]; ok {
		return []net.IP{ip}, true
	}
	services, err := d.services.services.List(labels.Everything())
	if err != nil {
		return nil, false
	}
	for _, service := range services {
		for known := range strings.SplitSeq(service.Annotations[NamesAnnotation], ",") {
			if strings.TrimSpace(known) == name {
				return d.addresses(service), true
			}
		}
	}
	return nil, false
}

func (d *DNS) addresses(service *corev1.Service) []net.IP {
	if ip := net.ParseIP(service.Spec.ClusterIP); ip != nil {
		return []net.IP{ip}
	}
	selector := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service.Name})
	slices, err := d.services.slices.EndpointSlices(service.Namespace).List(selector)
	if err != nil {
		return nil
	}
	var addresses []net.IP
	for _, slice := range slices {
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready || service.Spec.PublishNotReadyAddresses {
				addresses = append(addresses, net.ParseIP(endpoint.Addresses[0]))
			}
		}
	}
	return addresses
}
