package leaderservice

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
)

const (
	// Annotation names the process that has written an EndpointSlice last, as the Lease does.
	Annotation = "kube-devops.io/leader"
	// portName is the name of the port in the Service.
	portName = "http"
)

// A wanted is what a slice should have while this replica leads.
type wanted struct {
	name      string
	identity  string
	endpoints []discoveryv1.Endpoint // empty if the pod has no address of this family
	ports     []discoveryv1.EndpointPort
}

// wantedSlices returns the slices of both address families, first those for which the pod has an address.
func wantedSlices(o Options) []wanted {
	ports := []discoveryv1.EndpointPort{{Name: new(portName), Port: new(int32(o.Port)), Protocol: new(corev1.ProtocolTCP)}}
	var with, without []wanted
	for _, family := range []struct {
		suffix string
		has    func(netip.Addr) bool
	}{{"-ipv4", netip.Addr.Is4}, {"-ipv6", netip.Addr.Is6}} {
		w := wanted{name: o.Name + family.suffix, identity: o.Identity, ports: ports}
		for _, ip := range o.IPs {
			if family.has(ip) {
				w.endpoints = append(w.endpoints, discoveryv1.Endpoint{
					Addresses: []string{ip.String()},
					// Only the leader is in the slice, and a leader serves: the kubelet is not asked.
					Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
				})
			}
		}
		if len(w.endpoints) > 0 {
			with = append(with, w)
		} else {
			without = append(without, w)
		}
	}
	return append(with, without...)
}

// holds reports whether a slice is as it should be. One without an address must only be empty, whoever has written it.
func (w wanted) holds(slice *discoveryv1.EndpointSlice) bool {
	if !apiequality.Semantic.DeepEqual(slice.Endpoints, w.endpoints) {
		return false
	}
	return len(w.endpoints) == 0 || slice.Annotations[Annotation] == w.identity && apiequality.Semantic.DeepEqual(slice.Ports, w.ports)
}

// apply changes a copy of a slice. What else it has, such as the labels of the chart, stays.
func (w wanted) apply(slice *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	slice = slice.DeepCopy()
	if slice.Annotations == nil {
		slice.Annotations = make(map[string]string, 1)
	}
	slice.Annotations[Annotation] = w.identity
	slice.Endpoints, slice.Ports = w.endpoints, w.ports
	return slice
}
