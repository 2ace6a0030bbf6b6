package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
	"github.com/kube-devops/kube-devops/agent/e2e/process"
)

// startTimeout bounds the start of one component. On an idle machine etcd takes a second and kube-apiserver three.
const startTimeout = 60 * time.Second

// A ControlPlane is one etcd and one kube-apiserver on loopback. Its API server keeps port, certificate and keys when it is
// stopped and started again, so that clients find it as they left it.
type ControlPlane struct {
	bin, dir   string
	etcdPort   int
	port       int
	token      string
	kubeconfig string   // path, of the administrator
	flags      []string // of the API server, beside those that it always has

	etcd, apiserver *process.Process
	starts          int // of the API server; each has its own log
}

func newControlPlane(bin, dir string, flags []string) (*ControlPlane, error) {
	p := &ControlPlane{
		bin:        bin,
		dir:        dir,
		token:      rand.Text(),
		kubeconfig: filepath.Join(dir, "admin.kubeconfig"),
		flags:      flags,
	}
	if err := p.writeSigningKey(); err != nil {
		return nil, err
	}
	tokens := p.token + ",admin,admin,system:masters\n"
	if err := os.WriteFile(p.file("tokens.csv"), []byte(tokens), 0o600); err != nil {
		return nil, fmt.Errorf("write the token file: %w", err)
	}
	return p, nil
}

func (p *ControlPlane) file(name string) string { return filepath.Join(p.dir, name) }

// writeSigningKey makes the key by which the API server signs and checks ServiceAccount tokens.
func (p *ControlPlane) writeSigningKey() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the signing key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode the signing key: %w", err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(p.file("signing.key"), block, 0o600); err != nil {
		return fmt.Errorf("write the signing key: %w", err)
	}
	return nil
}

// start starts both. A port that was free when it was chosen may be taken when it is used; then it tries another.
func (p *ControlPlane) start(ctx context.Context) error {
	const tries = 3
	var err error
	for range tries {
		if err = p.choosePorts(); err != nil {
			return err
		}
		if err = p.startEtcd(ctx); err == nil {
			if err = p.StartAPIServer(ctx); err == nil {
				return p.waitBootstrap(ctx)
			}
		}
		p.stop()
		if ctx.Err() != nil {
			break
		}
	}
	return err
}

func (p *ControlPlane) choosePorts() error {
	ports, err := FreePorts(3)
	if err != nil {
		return err
	}
	p.etcdPort, p.port = ports[0], ports[1]
	return nil
}

// FreePorts returns n different TCP ports of the loopback address that nothing listens on.
func FreePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = l.Close() }() // all are held until the last is found, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func (p *ControlPlane) startEtcd(ctx context.Context) error {
	client := p.EtcdURL()
	peer := "unix://" + "localhost:" + strconv.Itoa(p.etcdPort) // a socket file in dir: it has no peers
	proc, err := process.Start(process.Options{
		Name: "etcd",
		Path: filepath.Join(p.bin, binaries.Etcd.Name),
		Dir:  p.dir,
		Args: []string{
			"--data-dir", p.file("etcd"),
			"--unsafe-no-fsync", // the data need not outlive the test
			"--listen-client-urls", client,
			"--advertise-client-urls", client,
			"--listen-peer-urls", peer,
			"--initial-advertise-peer-urls", peer,
			"--initial-cluster", "default=" + peer,
		},
	})
	if err != nil {
		return err
	}
	p.etcd = proc
	return waitReady(ctx, proc, func() error {
		res, err := http.Get(client + "/health")
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("etcd /health: %s", res.Status)
		}
		return nil
	})
}

// StartAPIServer starts kube-apiserver and returns when it says that it is ready.
func (p *ControlPlane) StartAPIServer(ctx context.Context) error {
	p.starts++
	proc, err := process.Start(process.Options{
		Name: "kube-apiserver-" + strconv.Itoa(p.starts),
		Path: filepath.Join(p.bin, binaries.APIServer.Name),
		Dir:  p.dir,
		Args: append([]string{
			"--etcd-servers", "http://127.0.0.1:" + strconv.Itoa(p.etcdPort),
			"--bind-address", "127.0.0.1",
			"--advertise-address", "127.0.0.1", // else it looks for a default route, which a machine may lack
			"--secure-port", strconv.Itoa(p.port),
			"--cert-dir", p.file("certificates"),
			"--authorization-mode", "RBAC",
			"--token-auth-file", p.file("tokens.csv"),
			"--service-account-issuer", "https://kubernetes.default.svc",
			"--service-account-key-file", p.file("signing.key"),
			"--service-account-signing-key-file", p.file("signing.key"),
			"--service-cluster-ip-range", "10.0.0.0/24",
			"--endpoint-reconciler-type", "none", // loopback is not a valid endpoint
			"--disable-admission-plugins=ServiceAccount", // nothing here makes a namespace's default account
		}, p.flags...),
	})
	if err != nil {
		return err
	}
	p.apiserver = proc
	return waitReady(ctx, proc, func() error { return p.ready(ctx) })
}

// ready asks /readyz, which is true only after the default roles are there. The certificate is made at the first start,
// so the client is made for each question.
func (p *ControlPlane) ready(ctx context.Context) error {
	client, err := p.client()
	if err != nil {
		return err
	}
	_, err = client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	return err
}

func (p *ControlPlane) client() (kubernetes.Interface, error) {
	certificate, err := os.ReadFile(filepath.Join(p.file("certificates"), "apiserver.crt"))
	if err != nil {
		return nil, err
	}
	config := api.NewConfig()
	config.Clusters["e2e"] = &api.Cluster{
		Server:                   "https://127.0.0.1:" + strconv.Itoa(p.port),
		CertificateAuthorityData: certificate,
	}
	config.AuthInfos["admin"] = &api.AuthInfo{Token: p.token}
	config.Contexts["e2e"] = &api.Context{Cluster: "e2e", AuthInfo: "admin"}
	config.CurrentContext = "e2e"
	if err := clientcmd.WriteToFile(*config, p.kubeconfig); err != nil {
		return nil, err
	}
	restConfig, err := clientcmd.BuildConfigFromFlags("", p.kubeconfig)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(restConfig)
}

// waitBootstrap waits for the namespaces that every cluster has.
func (p *ControlPlane) waitBootstrap(ctx context.Context) error {
	client, err := p.client()
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	return Eventually(ctx, startTimeout, 50*time.Millisecond, func() error {
		for _, name := range []string{metav1.NamespaceDefault, metav1.NamespaceSystem} {
			if _, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// EtcdURL is where etcd answers clients, without a certificate. What is written there the API server takes for its own.
func (p *ControlPlane) EtcdURL() string { return "http://127.0.0.1:" + strconv.Itoa(p.etcdPort) }

// Running says whether kube-apiserver was started and has not ended.
func (p *ControlPlane) Running() bool { return p.apiserver != nil && !p.apiserver.Ended() }

// StopAPIServer sends a signal to kube-apiserver and returns when it has ended. Its data stays in etcd. On SIGTERM it would
// wait up to 60 s for watches to end by themselves; like a kubelet it gets a grace period, a short one, and is killed.
func (p *ControlPlane) StopAPIServer(s syscall.Signal) {
	p.apiserver.Signal(s)
	if _, err := p.apiserver.Wait(3 * time.Second); err != nil {
		p.apiserver.Kill()
	}
}

// stop ends both, the API server first. It may be called at any time and more than once.
func (p *ControlPlane) stop() {
	for _, proc := range []*process.Process{p.apiserver, p.etcd} {
		if proc != nil {
			proc.Kill() // there is nothing to save
		}
	}
}

var errEnded = errors.New("it ended")

// waitReady asks until ready returns nil. A process that ends meanwhile, or is not ready in time, is an error that shows
// the end of its log.
func waitReady(ctx context.Context, proc *process.Process, ready func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-proc.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	err := Eventually(ctx, startTimeout, 50*time.Millisecond, func() error {
		if proc.Ended() {
			return errEnded
		}
		return ready()
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w\n%s", proc.Name(), err, proc.Tail())
	}
	return nil
}
