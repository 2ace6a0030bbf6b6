package portforward

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"k8s.io/client-go/rest"
)

// A tokenSource returns the token with which the user authenticates to the API server.
type tokenSource struct {
	file string
	// authenticate adds the credentials of the kubeconfig to a request, as for a request to the API server: a token, the token of a file,
	// or the token of a credential plugin.
	authenticate http.RoundTripper
}

func newTokenSource(config *rest.Config, file string) (*tokenSource, error) {
	wrapped, err := rest.HTTPWrappersForConfig(config, capture{})
	if err != nil {
		return nil, fmt.Errorf("read the credentials of the kubeconfig: %w", err)
	}
	return &tokenSource{file, wrapped}, nil
}

var errNoToken = errors.New("the agent requires a bearer token (--metrics-auth), but your kubeconfig has none, for example because it has a client certificate: " +
	"set --token-file, for example --token-file <(kubectl create token ACCOUNT)")

func (s *tokenSource) get(ctx context.Context) (string, error) {
	if s.file != "" {
		text, err := os.ReadFile(s.file)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		token := strings.TrimSpace(string(text))
		if token == "" || strings.ContainsAny(token, " \r\n") {
			return "", fmt.Errorf("--token-file: %s must contain exactly one token", s.file)
		}
		return token, nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://agent/", nil)
	if err != nil {
		return "", err
	}
	response, err := s.authenticate.RoundTrip(r)
	if err != nil {
		return "", fmt.Errorf("get the token of your kubeconfig: %w", err)
	}
	_ = response.Body.Close()
	scheme, token, _ := strings.Cut(response.Request.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", errNoToken
	}
	return token, nil
}

// capture returns the request as part of the response, without sending it.
type capture struct{}

func (capture) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
}
