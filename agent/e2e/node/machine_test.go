//go:build linux

package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/process"
)

// The addresses of the machine, in its own network. The API server listens on all, and so on the address of the Service
// kubernetes too: pods find it there, as in any cluster, and no proxy is needed.
const (
	serviceIP  = "10.0.0.1"
	nodeIP     = "10.77.0.1"
	gatewayIP  = "10.88.0.1"
	podNetwork = "10.88.0.0/24"
	nodeName   = "node"
)

// A machine is a cluster of one node, and what a test needs to use it as its administrator.
type machine struct {
	*cluster.Cluster
	dir, bin, socket string
	processes        []*process.Process
}

var env machine

// path is of a file in the folder of the test.
func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// start starts the cluster, and returns when its node is Ready and has the images.
func (m *machine) start(ctx context.Context) error {
	var err error
	m.bin, err = binaries.ControlPlane(ctx, os.Stderr) // all are there
	if err != nil {
		return err
	}
	m.socket = m.path("containerd.sock")
	for _, step := range []func(context.Context) error{
		m.network, m.files, m.containerd, m.controlPlane, m.images, m.kubelet, m.waitReady,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// network gives the machine its addresses.
func (m *machine) network(ctx context.Context) error {
	for _, args := range []string{
		"link set lo up", "address add " + serviceIP + "/32 dev lo", "address add " + nodeIP + "/32 dev lo",
	} {
		if out, err := exec.CommandContext(ctx, "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w\n%s", args, err, out)
		}
	}
	return nil
}

// files are the configuration of everything.
func (m *machine) files(context.Context) error {
	if err := m.keys(); err != nil {
		return err
	}
	config := api.NewConfig()
	config.Clusters["node"] = &api.Cluster{Server: "https://127.0.0.1", CertificateAuthority: m.path("apiserver.crt")}
	config.AuthInfos["admin"] = &api.AuthInfo{Token: "admin"}
	config.Contexts["node"] = &api.Context{Cluster: "node", AuthInfo: "admin"}
	config.CurrentContext = "node"
	if err := clientcmd.WriteToFile(*config, m.path("admin.kubeconfig")); err != nil {
		return err
	}
	fill := strings.NewReplacer("DIR", m.dir, "SOCKET", m.socket, "CGROUP", cgroupRoot, "NETWORK", podNetwork, "PLUGINS", cniPlugins, "ADDRESS", nodeIP)
	for name, text := range map[string]string{
		// No other machine can connect to this API server.
		"tokens.csv":             "admin,admin,admin,system:masters\n",
		"containerd.toml":        containerdConfig,
		"cni/10-bridge.conflist": networkConfig,
		"kubelet.yaml":           kubeletConfig,
	} {
		if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(m.path(name), []byte(fill.Replace(text)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

const containerdConfig = `version = 2
root = "DIR/containerd-root"
state = "DIR/containerd-state"
[grpc]
  address = "SOCKET"
[plugins."io.containerd.internal.v1.opt"]
  path = "DIR/containerd-root/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/workload:v1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "PLUGINS"
    conf_dir = "DIR/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
`

const networkConfig = `{
  "cniVersion": "1.0.0", "name": "pods",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": "NETWORK"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    }
  ]
}
`

// A node reads a changed ConfigMap at its next sync, which is a minute apart by default.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: ADDRESS
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /CGROUP
cgroupsPerQOS: false
containerRuntimeEndpoint: unix://SOCKET
enforceNodeAllocatable: []
evictionHard: {memory.available: 1Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
makeIPTablesUtilChains: false
podLogsDir: DIR/log
readOnlyPort: 0
resolvConf: ""
syncFrequency: 10s
volumePluginDir: DIR/kubelet-root/plugins
`

// keys makes the certificate of the API server, which is its own root, and the key that signs the tokens of accounts.
func (m *machine) keys() error {
	serving, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	certificate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kube-apiserver"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"localhost", "kubernetes.default.svc"},
		IPAddresses: []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP(serviceIP), net.ParseIP(gatewayIP)},
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, &serving.PublicKey, serving)
	if err != nil {
		return err
	}
	signing, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	write := func(name, kind string, der []byte) error {
		return os.WriteFile(m.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	servingDER, err1 := x509.MarshalECPrivateKey(serving)
	signingDER, err2 := x509.MarshalECPrivateKey(signing)
	return errors.Join(err1, err2, write("apiserver.crt", "CERTIFICATE", der),
		write("apiserver.key", "EC PRIVATE KEY", servingDER), write("signing.key", "EC PRIVATE KEY", signingDER))
}

// run starts a program, of that path or in PATH, and returns when ready says that it is.
func (m *machine) run(ctx context.Context, name, program string, ready func() error, args ...string) error {
	path, err := exec.LookPath(program)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	proc, err := process.Start(process.Options{
		Name: name, Path: path, Dir: m.dir, Args: args,
		Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + m.dir},
	})
	if err != nil {
		return err
	}
	m.processes = append(m.processes, proc)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-proc.Done(): // waiting longer would not mend it
			cancel()
		case <-ctx.Done():
		}
	}()
	if err = cluster.Eventually(ctx, 2*time.Minute, 100*time.Millisecond, ready); err != nil {
		return fmt.Errorf("start %s: %w\n%s", name, err, proc.Tail())
	}
	return nil
}

// healthy asks a page until it is OK.
func healthy(url string) func() error {
	return func() error {
		res, err := http.Get(url)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, res.Status)
		}
		return nil
	}
}

func (m *machine) containerd(ctx context.Context) error {
	return m.run(ctx, "containerd", "containerd", func() error {
		return exec.CommandContext(ctx, "ctr", "--address", m.socket, "version").Run()
	}, "--config", m.path("containerd.toml"))
}

func (m *machine) controlPlane(ctx context.Context) error {
	const etcd = "http://127.0.0.1:2379"
	err := m.run(ctx, "etcd", filepath.Join(m.bin, "etcd"), healthy(etcd+"/health"),
		"--data-dir", m.path("etcd-data"), "--unsafe-no-fsync", "--listen-client-urls", etcd, "--advertise-client-urls", etcd)
	if err != nil {
		return err
	}
	err = m.run(ctx, "kube-apiserver", filepath.Join(m.bin, "kube-apiserver"), func() error { return m.connect(ctx) },
		"--etcd-servers", etcd, "--bind-address", "0.0.0.0", "--secure-port", "443", "--advertise-address", nodeIP,
		"--cert-dir", m.path("apiserver-certificates"),
		"--tls-cert-file", m.path("apiserver.crt"), "--tls-private-key-file", m.path("apiserver.key"),
		"--authorization-mode", "RBAC", "--token-auth-file", m.path("tokens.csv"),
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", m.path("signing.key"), "--service-account-signing-key-file", m.path("signing.key"),
		"--service-cluster-ip-range", "10.0.0.0/24", "--endpoint-reconciler-type", "none", "--allow-privileged",
		"--kubelet-preferred-address-types", "InternalIP") // there is no DNS for the name of the node
	if err != nil {
		return err
	}
	kubeconfig := []string{"--kubeconfig", m.path("admin.kubeconfig"), "--leader-elect=false", "--bind-address", "127.0.0.1",
		"--authentication-kubeconfig", m.path("admin.kubeconfig"), "--authorization-kubeconfig", m.path("admin.kubeconfig")}
	running := func() error { return nil } // what they do is waited for
	return errors.Join(
		m.run(ctx, "kube-scheduler", filepath.Join(m.bin, "kube-scheduler"), running, kubeconfig...),
		m.run(ctx, "kube-controller-manager", filepath.Join(m.bin, "kube-controller-manager"), running, append(kubeconfig,
			"--service-account-private-key-file", m.path("signing.key"), "--root-ca-file", m.path("apiserver.crt"))...))
}

// connect makes the client, and asks whether the API server is ready.
func (m *machine) connect(ctx context.Context) error {
	if m.Cluster == nil {
		c, err := cluster.Existing(ctx, m.path("admin.kubeconfig"), m.dir, os.Stderr)
		if err != nil {
			return err
		}
		m.Cluster = c
	}
	_, err := m.Admin.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	return err
}

// images brings the images to the node. There is no registry.
func (m *machine) images(ctx context.Context) error {
	archives, err := filepath.Glob(m.path("*.tar"))
	if err != nil {
		return err
	}
	for _, archive := range archives {
		out, err := exec.CommandContext(ctx, "ctr", "--address", m.socket, "--namespace", "k8s.io", "images", "import", archive).CombinedOutput()
		if err != nil {
			return fmt.Errorf("import %s: %w\n%s", archive, err, out)
		}
	}
	return nil
}

func (m *machine) kubelet(ctx context.Context) error {
	return m.run(ctx, "kubelet", filepath.Join(m.bin, "kubelet"), healthy("http://127.0.0.1:10248/healthz"),
		"--config", m.path("kubelet.yaml"), "--kubeconfig", m.path("admin.kubeconfig"), "--root-dir", m.path("kubelet-root"),
		"--cert-dir", m.path("kubelet-certificates"), "--hostname-override", nodeName, "--node-ip", nodeIP)
}

// waitReady waits until the node takes pods.
func (m *machine) waitReady(ctx context.Context) error {
	err := cluster.Eventually(ctx, 2*time.Minute, 200*time.Millisecond, func() error {
		node, err := m.Admin.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue && len(node.Spec.Taints) == 0 {
				return nil
			}
		}
		return fmt.Errorf("not Ready: %v %v", node.Status.Conditions, node.Spec.Taints)
	})
	if err != nil {
		return fmt.Errorf("wait for the node: %w\n%s", err, m.processes[len(m.processes)-1].Tail())
	}
	return nil
}
