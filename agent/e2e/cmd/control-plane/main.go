// Command control-plane builds the kube-apiserver, etcd and kubectl that the end-to-end tests run, and prints the folder
// they are in. The tests build them too where they are missing; this one shows its progress while it works.
//
// With -run it starts them as well and prints the path of the administrator's kubeconfig: a real API server to try the
// agent on, without a node, until it is interrupted.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
)

func main() {
	serving := flag.Bool("run", false, "start a control plane and keep it until interrupted")
	flag.Parse()
	if err := run(*serving); err != nil {
		fmt.Fprintln(os.Stderr, "control-plane:", err)
		os.Exit(1)
	}
}

func run(serving bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if serving {
		return serve(ctx)
	}
	return build(ctx)
}

func build(ctx context.Context) error {
	dir, err := binaries.ControlPlane(ctx, os.Stderr, binaries.Etcd, binaries.Kubectl, binaries.APIServer)
	if err != nil {
		return err
	}
	fmt.Println(dir)
	return nil
}

func serve(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "kube-devops-control-plane-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	c, err := cluster.Start(ctx, dir, os.Stderr)
	if err != nil {
		return err
	}
	defer c.Stop()
	fmt.Println(c.Kubeconfig())
	<-ctx.Done()
	return nil
}
