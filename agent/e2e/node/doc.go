// Package node tests an installation of the chart on a real node: kubelet, containerd and runc run the image, and Prometheus scrapes
// it. `make e2e-node` runs it as root on Linux. It installs missing Debian packages, and builds the other programs.
//
// Everything runs in separate PID, mount and network namespaces, so that it ends with the test and changes nothing else on the machine.
// E2E_LOGS keeps the logs in that directory.
package node
