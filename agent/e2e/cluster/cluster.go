// Package cluster gives the tests a Kubernetes API server: a real kube-apiserver with its own etcd on loopback, with RBAC
// and without a node, or an existing cluster. It installs the manifests of deploy/ there and hands out kubeconfigs of
// the agent's ServiceAccount.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
)

// A Cluster is an API server and what a test needs to use it as its administrator.
type Cluster struct {
	Admin kubernetes.Interface
	Own   *ControlPlane // nil for an existing cluster, which cannot be stopped

	config     *rest.Config
	kubeconfig string // path, of the administrator
	kubectl    string // path
	dir        string
}

// Start builds what is missing, starts etcd and kube-apiserver with their data and logs in dir, and returns when the API
// server is ready. The flags are added to those of the API server. Stop ends it.
func Start(ctx context.Context, dir string, progress io.Writer, flags ...string) (*Cluster, error) {
	bin, err := binaries.ControlPlane(ctx, progress, binaries.Etcd, binaries.Kubectl, binaries.APIServer)
	if err != nil {
		return nil, err
	}
	own, err := newControlPlane(bin, dir, flags)
	if err != nil {
		return nil, err
	}
	if err := own.start(ctx); err != nil {
		own.stop()
		return nil, err
	}
	c, err := connect(own.kubeconfig, bin, dir)
	if err != nil {
		own.stop()
		return nil, err
	}
	c.Own = own
	return c, nil
}

// Existing returns the cluster of a kubeconfig's current context. It needs the rights of an administrator there.
func Existing(ctx context.Context, kubeconfig, dir string, progress io.Writer) (*Cluster, error) {
	bin, err := binaries.ControlPlane(ctx, progress, binaries.Kubectl)
	if err != nil {
		return nil, err
	}
	kubeconfig, err = filepath.Abs(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("find the kubeconfig: %w", err)
	}
	return connect(kubeconfig, bin, dir)
}

func connect(kubeconfig, bin, dir string) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	config.QPS = -1 // the tests write as fast as the server takes it
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return &Cluster{
		Admin:      client,
		config:     config,
		kubeconfig: kubeconfig,
		kubectl:    filepath.Join(bin, binaries.Kubectl.Name),
		dir:        dir,
	}, nil
}

// Stop ends what Start has started. An existing cluster is left alone.
func (c *Cluster) Stop() {
	if c.Own != nil {
		c.Own.stop()
	}
}

// Kubeconfig returns the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return c.kubeconfig }

// KubectlCommand returns a kubectl command as the administrator, not yet started.
func (c *Cluster) KubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.kubectl, append([]string{"--kubeconfig", c.kubeconfig}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+c.dir, "KUBECONFIG=") // no plugin, preference or cache of the user's
	return cmd
}

// Kubectl runs kubectl as the administrator, with stdin if it is not nil, and returns what it wrote to stdout.
func (c *Cluster) Kubectl(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := c.KubectlCommand(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("kubectl %v: %w\n%s", args, err, stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

// writeKubeconfig writes a kubeconfig for this cluster to path, whose user has the given bearer token and nothing else.
func (c *Cluster) writeKubeconfig(path, token string) error {
	config, err := clientcmd.LoadFromFile(c.kubeconfig)
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	if err := errors.Join(api.MinifyConfig(config), api.FlattenConfig(config)); err != nil {
		return fmt.Errorf("reduce kubeconfig: %w", err)
	}
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &api.AuthInfo{Token: token}
	}
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

// Eventually asks until holds returns nil, and fails with its last error after the timeout.
func Eventually(ctx context.Context, timeout, every time.Duration, holds func() error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := holds()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", timeout, err)
		}
	}
}
