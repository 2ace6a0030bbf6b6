package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An Account may do what the installation's account may, with a Lease of its own, so that several pairs of agents live in
// one cluster and do not know of one another. Each of its two permissions can be taken away and given back.
type Account struct {
	Name string // of the ServiceAccount, its bindings and its Lease in namespace default

	installation *Installation
}

// NewAccount makes an account, and returns when the API server knows what it may do.
func (i *Installation) NewAccount(ctx context.Context, name string) (*Account, error) {
	a := &Account{Name: name, installation: i}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := i.cluster.Admin.CoreV1().ServiceAccounts(i.Name).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("make account %s: %w", name, err)
	}
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create"}},
			{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{name}, Verbs: []string{"get", "update"}},
		},
	}
	if _, err := i.cluster.Admin.RbacV1().Roles(metav1.NamespaceDefault).Create(ctx, role, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("make account %s: %w", name, err)
	}
	if err := errors.Join(a.GrantPods(ctx), a.GrantLease(ctx)); err != nil {
		return nil, err
	}
	client, err := i.Client(ctx, name)
	if err != nil {
		return nil, err
	}
	return a, Eventually(ctx, 20*time.Second, 20*time.Millisecond, func() error {
		if _, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
			return err
		}
		_, err := client.CoordinationV1().Leases(metav1.NamespaceDefault).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

func (a *Account) subjects() []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: a.Name, Namespace: a.installation.Name}}
}

// GrantPods lets the account list and watch pods.
func (a *Account) GrantPods(ctx context.Context) error {
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: a.Name},
		Subjects:   a.subjects(),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: a.installation.Name},
	}
	if _, err := a.installation.cluster.Admin.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("let %s read pods: %w", a.Name, err)
	}
	return nil
}

// RevokePods takes that away.
func (a *Account) RevokePods(ctx context.Context) error {
	if err := a.installation.cluster.Admin.RbacV1().ClusterRoleBindings().Delete(ctx, a.Name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("take pods from %s: %w", a.Name, err)
	}
	return nil
}

// GrantLease lets the account create Leases, and get and update its own.
func (a *Account) GrantLease(ctx context.Context) error {
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: a.Name},
		Subjects:   a.subjects(),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: a.Name},
	}
	if _, err := a.installation.cluster.Admin.RbacV1().RoleBindings(metav1.NamespaceDefault).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("let %s hold its Lease: %w", a.Name, err)
	}
	return nil
}

// RevokeLease takes that away.
func (a *Account) RevokeLease(ctx context.Context) error {
	if err := a.installation.cluster.Admin.RbacV1().RoleBindings(metav1.NamespaceDefault).Delete(ctx, a.Name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("take the Lease from %s: %w", a.Name, err)
	}
	return nil
}
