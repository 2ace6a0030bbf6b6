package leaderservice

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// Annotation has the identity of the process that was the last to write an EndpointSlice, as in the Lease.
	Annotation = "kube-devops.io/leader"
	// portName is the name of the port in the Service.
	portName = "http"
	// manager is the value of the managed-by label. It keeps the controllers of Kubernetes from managing the slices.
	manager = "kube-devops"
)

// A wanted is the desired content of a slice while this replica is the leader.
type wanted struct {
	name      string
	family    discoveryv1.AddressType
	labels    map[string]string // assign the slice to the Service
	identity  string
	endpoints []discoveryv1.Endpoint // empty if the pod has no address of this family
	ports     []discoveryv1.EndpointPort
}

// wantedSlices returns the desired slices of both address families, first those for which the pod has an address.
func wantedSlices(o Options) []wanted {
	ports := []discoveryv1.EndpointPort{{Name: new(portName), Port: new(int32(o.Port)), Protocol: new(corev1.ProtocolTCP)}}
	labels := map[string]string{discoveryv1.LabelServiceName: o.Name, discoveryv1.LabelManagedBy: manager}
	var with, without []wanted
	for _, family := range []struct {
		suffix string
		name   discoveryv1.AddressType
		has    func(netip.Addr) bool
	}{{"-ipv4", discoveryv1.AddressTypeIPv4, netip.Addr.Is4}, {"-ipv6", discoveryv1.AddressTypeIPv6, netip.Addr.Is6}} {
		w := wanted{name: o.Name + family.suffix, family: family.name, labels: labels, identity: o.Identity, ports: ports}
		for _, ip := range o.IPs {
			if family.has(ip) {
				w.endpoints = append(w.endpoints, discoveryv1.Endpoint{
					Addresses: []string{ip.String()},
					// The leader is always ready, so the readiness probe of the kubelet does not matter.
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

// fits returns an error if a slice has another address type. The type is immutable, so the slice can never have the desired addresses.
func (w wanted) fits(slice *discoveryv1.EndpointSlice) error {
	if slice.AddressType == w.family || len(w.endpoints) == 0 {
		return nil
	}
	return fmt.Errorf("EndpointSlice %s has the addressType %s, not %s, which cannot be changed: delete it and let the chart create it again", w.name, slice.AddressType, w.family)
}

// holds reports whether a slice has the desired content. A slice without an address of its family only needs to be empty.
func (w wanted) holds(slice *discoveryv1.EndpointSlice) bool {
	if !apiequality.Semantic.DeepEqual(slice.Endpoints, w.endpoints) {
		return false
	}
	return len(w.endpoints) == 0 || slice.Annotations[Annotation] == w.identity && w.labeled(slice) && apiequality.Semantic.DeepEqual(slice.Ports, w.ports)
}

func (w wanted) labeled(slice *discoveryv1.EndpointSlice) bool {
	for name, value := range w.labels {
		if slice.Labels[name] != value {
			return false
		}
	}
	return true
}

// apply returns a copy of a slice with the desired content. It keeps all other fields, such as the other labels of the chart.
func (w wanted) apply(slice *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	slice = slice.DeepCopy()
	metav1.SetMetaDataAnnotation(&slice.ObjectMeta, Annotation, w.identity)
	for name, value := range w.labels {
		metav1.SetMetaDataLabel(&slice.ObjectMeta, name, value)
	}
	slice.Endpoints, slice.Ports = w.endpoints, w.ports
	return slice
}
