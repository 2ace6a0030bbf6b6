// Package node tests an installation of the chart on a real node: kubelet, containerd and runc run the image, Prometheus
// scrapes it. `make e2e-node` runs it, as root on Linux; what it needs of Debian it installs, and the rest it builds.
//
// Everything runs in namespaces of its own for processes, mounts and the network, so that all of it ends with the test,
// however that ends, and nothing else of the machine is touched. E2E_LOGS keeps the logs in that folder.
package node
