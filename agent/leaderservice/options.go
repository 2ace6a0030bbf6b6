package leaderservice

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Options are the options of a Service.
type Options struct {
	// Namespace and Name identify the Service without a selector. Its EndpointSlices are NAME-ipv4 and NAME-ipv6.
	Namespace, Name string
	// IPs has the addresses of this pod, at most one for each address family.
	IPs []netip.Addr
	// Port is the port of this replica. Its name in the slices is http, and the port of the Service must have the same name.
	Port uint16
	// Identity is the identity of this process in the Lease.
	Identity string
	// Permitted returns nil if this replica may publish.
	Permitted func(ctx context.Context) error
	// Log logs writes and their errors.
	Log *zap.Logger
}

// ParseName parses NAMESPACE/NAME of a Service.
func ParseName(text string) (namespace, name string, err error) {
	namespace, name, _ = strings.Cut(text, "/")
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Label(name)) > 0 {
		return "", "", fmt.Errorf("%.130q must be NAMESPACE/NAME of a Service", text)
	}
	return namespace, name, nil
}

// ParseIPs parses the addresses of a pod. It returns an error for addresses that an EndpointSlice cannot have.
func ParseIPs(texts []string) ([]netip.Addr, error) {
	var ips []netip.Addr
	var mistakes []error
	for _, text := range texts {
		ip, err := netip.ParseAddr(strings.TrimSpace(text))
		ip = ip.Unmap()
		switch {
		case err != nil || ip.Zone() != "":
			mistakes = append(mistakes, fmt.Errorf("%.64q is not an IP address", text))
			continue
		case ip.IsUnspecified() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast():
			mistakes = append(mistakes, fmt.Errorf("other pods cannot connect to %s", ip))
		}
		for _, other := range ips {
			if other.Is4() == ip.Is4() {
				mistakes = append(mistakes, fmt.Errorf("%s and %s are of the same address family; a pod has one of each", other, ip))
			}
		}
		ips = append(ips, ip)
	}
	if len(texts) == 0 {
		mistakes = append(mistakes, errors.New("needs the addresses of the pod"))
	}
	return ips, errors.Join(mistakes...)
}

// PortOf returns the port of a listener's address.
func PortOf(address string) (uint16, error) {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return uint16(port), err
}
