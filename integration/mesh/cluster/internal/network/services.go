package network

import (
	"io"
	"log"
	"net"
	"strconv"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// Services listens on the address of every service and connects callers to its ready endpoints in turn. TCP only.
type Services struct {
	services  corelisters.ServiceLister
	slices    discoverylisters.EndpointSliceLister
	turn      atomic.Uint64
	mutex     sync.Mutex
	listeners map[string]net.Listener
}

// NewServices follows the services of factory; start the factory afterwards.
func NewServices(factory informers.SharedInformerFactory) (*Services, error) {
	s := &Services{
		services:  factory.Core().V1().Services().Lister(),
		slices:    factory.Discovery().V1().EndpointSlices().Lister(),
		listeners: map[string]net.Listener{},
	}
	_, err := factory.Core().V1().Services().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { s.listen() },
		UpdateFunc: func(any, any) { s.listen() },
		DeleteFunc: func(any) { s.listen() },
	})
	return s, err
}

// listen makes the set of listeners that of the services' ports.
func (s *Services) listen() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	services, err := s.services.List(labels.Everything())
	if err != nil {
		return
	}
	wanted := map[string]bool{}
	for _, service := range services {
		if ip := net.ParseIP(service.Spec.ClusterIP); ip == nil || service.Spec.Type == corev1.ServiceTypeExternalName {
			continue
		}
		for _, port := range service.Spec.Ports {
			if port.Protocol != corev1.ProtocolTCP {
				continue
			}
			address := net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(port.Port)))
			wanted[address] = true
			if s.listeners[address] != nil {
				continue
			}
			listener, err := net.Listen("tcp", address)
			if err != nil {
				log.Printf("service %s/%s: %v", service.Namespace, service.Name, err)
				continue
			}
			s.listeners[address] = listener
			go s.accept(listener, service.Namespace, service.Name, port.Name)
		}
	}
	for address, listener := range s.listeners {
		if !wanted[address] {
			listener.Close()
			delete(s.listeners, address)
		}
	}
}

func (s *Services) accept(listener net.Listener, namespace, name, port string) {
	for {
		caller, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer caller.Close()
			endpoints := s.Endpoints(namespace, name, port)
			if len(endpoints) == 0 {
				return
			}
			endpoint, err := net.Dial("tcp", endpoints[s.turn.Add(1)%uint64(len(endpoints))])
			if err != nil {
				return
			}
			defer endpoint.Close()
			join(caller.(*net.TCPConn), endpoint.(*net.TCPConn))
		}()
	}
}

// join copies both ways until both are done, and hands on each end that closes.
func join(a, b *net.TCPConn) {
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(a, b)
		_ = a.CloseWrite()
		close(done)
	}()
	_, _ = io.Copy(b, a)
	_ = b.CloseWrite()
	<-done
}

// Endpoints are the ready addresses (with ports, where port names one) of a service.
func (s *Services) Endpoints(namespace, name, port string) []string {
	selector := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: name})
	slices, err := s.slices.EndpointSlices(namespace).List(selector)
	if err != nil {
		return nil
	}
	var addresses []string
	for _, slice := range slices {
		for _, candidate := range slice.Ports {
			if candidate.Name == nil || *candidate.Name != port || candidate.Port == nil {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
					addresses = append(addresses, net.JoinHostPort(endpoint.Addresses[0], strconv.Itoa(int(*candidate.Port))))
				}
			}
		}
	}
	return addresses
}
