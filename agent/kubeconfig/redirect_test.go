package kubeconfig

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestAnswersThatAreNotRedirects pass as they are.
func TestAnswersThatAreNotRedirects(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }))
	defer api.Close()
	guard := &redirectGuard{http.DefaultTransport}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	response, err := (&http.Client{Transport: guard}).Get(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNotModified {
		t.Errorf("status %d, want 304", response.StatusCode)
	}
}
