// Package e2e tests the built kube-devops binary against a real Kubernetes API server.
//
// The first run builds kube-apiserver, etcd and kubectl (see the binaries package), which takes about 6 minutes on two
// cores; they are kept in .cache. To see the progress of that, run `go run ./cmd/control-plane` first. After that a run
// takes about a minute. The environment may say:
//
//	E2E_KUBECONFIG  run against the current context of this kubeconfig, as its administrator, and start nothing.
//	                Everything made there has a name with a random part, and is deleted at the end.
//	E2E_BINARY      test this kube-devops binary and build none.
//	E2E_LOGS        keep the logs and data of every component in this folder.
package e2e
