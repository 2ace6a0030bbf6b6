package agent

import (
	"errors"
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// clusterConfig finds the cluster. Its clients follow no redirects.
func clusterConfig(kubeconfig string) (*rest.Config, error) {
	config, err := findCluster(kubeconfig)
	if err != nil {
		return nil, err
	}
	refuseRedirects(config)
	return config, nil
}

// findCluster finds the cluster: by the kubeconfig that is named, else the pod that this process runs in, else the
// kubeconfig that kubectl would take.
func findCluster(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err == nil {
			return config, nil
		}
		if !errors.Is(err, rest.ErrNotInCluster) {
			return nil, fmt.Errorf("read the in-cluster configuration: %w", err)
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, errors.New("no cluster: not in a pod, and no kubeconfig; name one with --kubeconfig, or serve a recording with --replay FILE")
	}
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	return config, nil
}
