package kubeconfig

import (
	"fmt"
	"net/http"
	"net/url"

	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// refuseRedirects makes every client of a configuration refuse redirects. net/http would follow them, and client-go's transport
// adds the credentials to every request, so the token would reach any host that an answer names.
func refuseRedirects(config *rest.Config) {
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &redirectGuard{next} })
}

type redirectGuard struct{ next http.RoundTripper }

// WrappedRoundTripper lets idle connections be closed through the wrapper.
func (g *redirectGuard) WrappedRoundTripper() http.RoundTripper { return g.next }

func (g *redirectGuard) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	location := response.Header.Get("Location")
	if response.StatusCode/100 != 3 || location == "" {
		return response, nil
	}
	_ = response.Body.Close()
	to := "an address that is not a URL"
	if target, err := r.URL.Parse(location); err == nil {
		to = (&url.URL{Scheme: target.Scheme, Host: target.Host}).String()
	}
	return nil, fmt.Errorf("%s redirects to %s (status %d); credentials are not sent there: name the API server itself", r.URL.Host, to, response.StatusCode)
}

var _ net.RoundTripperWrapper = (*redirectGuard)(nil)
