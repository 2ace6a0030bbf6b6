package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
)

// product is the word that stands for the installation in the manifests: every name there is it, or begins with it.
const product = "kube-devops"

// identity lists the manifests that say who the agent is and what it may do.
var identity = []string{"00-namespace.yaml", "10-serviceaccount.yaml", "20-pods.yaml", "30-lease.yaml"}

// An Installation is the agent's identity in a cluster: the manifests of deploy/, applied.
type Installation struct {
	Name      string // of the namespace, the ServiceAccount, the roles
	LeaseName string // in namespace default

	cluster   *Cluster
	manifests []byte
}

// Install applies the manifests of deploy/ that are about identity and permissions, and waits until the API server lets
// the agent's account list pods. On a control plane of its own it applies them as they stand; in an existing cluster
// under the given name in place of kube-devops, so that a real installation there is not touched.
func (c *Cluster) Install(ctx context.Context, name string) (*Installation, error) {
	if c.Own != nil {
		name = product
	}
	manifests, err := readManifests(name, identity)
	if err != nil {
		return nil, err
	}
	i := &Installation{Name: name, LeaseName: name + "-leader", cluster: c, manifests: manifests}
	if _, err := c.Kubectl(ctx, bytes.NewReader(manifests), "apply", "-f", "-"); err != nil {
		return nil, err
	}
	return i, i.waitAllowed(ctx)
}

// readManifests joins manifest files of deploy/ to one stream, with another name in place of kube-devops.
func readManifests(name string, files []string) ([]byte, error) {
	root, err := binaries.Root()
	if err != nil {
		return nil, err
	}
	var all strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join(root, "deploy", "manifests", file))
		if err != nil {
			return nil, fmt.Errorf("read the manifests: %w", err)
		}
		all.WriteString("---\n" + strings.ReplaceAll(string(b), product, name))
	}
	return []byte(all.String()), nil
}

// AllManifests returns every manifest of deploy/ as one stream, under the installation's name.
func (i *Installation) AllManifests() ([]byte, error) {
	root, err := binaries.Root()
	if err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(root, "deploy", "manifests", "*.yaml"))
	if err != nil {
		return nil, err
	}
	var files []string
	for _, path := range paths {
		files = append(files, filepath.Base(path))
	}
	return readManifests(i.Name, files)
}

// waitAllowed waits for the API server's own view of the roles, which follows their creation.
func (i *Installation) waitAllowed(ctx context.Context) error {
	client, err := i.Client(ctx, i.Name)
	if err != nil {
		return err
	}
	return Eventually(ctx, 10*time.Second, 20*time.Millisecond, func() error {
		for _, attributes := range []authorizationv1.ResourceAttributes{
			{Verb: "watch", Resource: "pods"},
			{Verb: "update", Group: "coordination.k8s.io", Resource: "leases", Namespace: metav1.NamespaceDefault, Name: i.LeaseName},
		} {
			review := &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &attributes},
			}
			answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			if !answer.Status.Allowed {
				return fmt.Errorf("%s %s is not allowed: %s", attributes.Verb, attributes.Resource, answer.Status.Reason)
			}
		}
		return nil
	})
}

// Kubeconfig writes a kubeconfig of a ServiceAccount in the installation's namespace into a file of dir and returns its
// path. The account is authenticated by a token that the API server issues, as a pod's would be.
func (i *Installation) Kubeconfig(ctx context.Context, dir, account string) (string, error) {
	day := int64(24 * time.Hour / time.Second) // a soak takes hours, and the token is not renewed
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}
	answer, err := i.cluster.Admin.CoreV1().ServiceAccounts(i.Name).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("request a token of %s: %w", account, err)
	}
	path := filepath.Join(dir, account+".kubeconfig")
	return path, i.cluster.writeKubeconfig(path, answer.Status.Token)
}

// Client returns a client that is authenticated as a ServiceAccount in the installation's namespace.
func (i *Installation) Client(ctx context.Context, account string) (kubernetes.Interface, error) {
	dir, err := os.MkdirTemp(i.cluster.dir, "client-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	path, err := i.Kubeconfig(ctx, dir, account)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return kubernetes.NewForConfig(config)
}

// Uninstall removes the installation from an existing cluster. A control plane of its own goes away whole.
func (i *Installation) Uninstall(ctx context.Context) error {
	if i.cluster.Own != nil {
		return nil
	}
	_, err := i.cluster.Kubectl(ctx, bytes.NewReader(i.manifests), "delete", "--ignore-not-found", "--wait=false", "-f", "-")
	_, leaseErr := i.cluster.Kubectl(ctx, nil, "-n", metav1.NamespaceDefault, "delete", "lease", "--ignore-not-found", i.LeaseName)
	return errors.Join(err, leaseErr)
}
