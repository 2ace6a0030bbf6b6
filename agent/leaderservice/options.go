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

// Options of a Service.
type Options struct {
	// Namespace and Name are those of the Service without selector. Its EndpointSlices are NAME-ipv4 and NAME-ipv6.
	Namespace, Name string
	// IPs are the addresses of this pod: one, or one for each address family.
	IPs []netip.Addr
	// Port is where this replica serves. In the slices its name is http; the port of the Service must have the same name.
	Port uint16
	// Identity is that of this process, as in the Lease.
	Identity string
	// Permitted returns nil if this replica may publish now.
	Permitted func(ctx context.Context) error
	// Log receives what was written and why it could not be.
	Log *zap.Logger
}

// ParseName splits NAMESPACE/NAME.
func ParseName(text string) (namespace, name string, err error) {
	namespace, name, _ = strings.Cut(text, "/")
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Label(name)) > 0 {
		return "", "", fmt.Errorf("%.130q must be NAMESPACE/NAME of a Service", text)
	}
	return namespace, name, nil
}

// ParseIPs reads the addresses of a pod. Those that an EndpointSlice cannot have are errors.
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

// PortOf returns the port of an address to which a listener is bound.
func PortOf(address string) (uint16, error) {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return uint16(port), err
}
