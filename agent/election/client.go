package election

import (
	"cmp"
	"net"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
)

// newClient makes the Lease client and a func that closes its connections.
//
// The client has a connection of its own: client-go shares one between all clients with the same TLS options and dialer, and a
// watch that fills it would delay renewals. It uses HTTP/1.1, where a request that times out closes its connection and the next
// try dials. Over HTTP/2 all tries would use the same dead connection until a ping detects it, after 45 s by default.
func newClient(cfg *rest.Config, timeout time.Duration) (coordinationv1client.LeasesGetter, func(), error) {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = cmp.Or(cfg.UserAgent, rest.DefaultKubernetesUserAgent()) + "/leader-election"
	cfg.Timeout = timeout // the API server learns it too
	cfg.NextProtos = []string{"http/1.1"}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}).DialContext
	}
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, nil, err
	}
	leases, err := coordinationv1client.NewForConfigAndClient(cfg, client)
	if err != nil {
		return nil, nil, err
	}
	return leases, func() { utilnet.CloseIdleConnectionsFor(client.Transport) }, nil
}
