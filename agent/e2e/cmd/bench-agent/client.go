package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-devops/kube-devops/agent/e2e/process"
)

// The clients that the agent is compared with. Each lists all pods once.
var clients = []struct {
	name, what string
	list       func(ctx context.Context, config *rest.Config) (kept any, err error)
}{
	{"get", "plain GET of the list, thrown away", plainGet},
	{"dynamic", "stock dynamic informer, whole objects", stockDynamic},
	{"protobuf", "typed informer over protobuf, names alone", typedNames},
}

// A cost has the resources that the initial list of all pods used.
type cost struct {
	Wall time.Duration
	CPU  time.Duration
	Peak int // RSS, bytes
	Heap int // bytes, after a garbage collection
	File int // RSS of the agent that is pages of its binary, bytes
}

// beClient runs the process of a client, which writes its cost to stdout.
func beClient(ctx context.Context, name, kubeconfig string) error {
	started := time.Now()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1
	for _, c := range clients {
		if c.name != name {
			continue
		}
		kept, err := c.list(ctx, config)
		if err != nil {
			return err
		}
		p, err := process.UsageOf(os.Getpid())
		if err != nil {
			return err
		}
		spent := cost{Wall: time.Since(started), CPU: p.CPU, Peak: p.Peak}
		runtime.GC()
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		spent.Heap = int(memory.HeapAlloc)
		runtime.KeepAlive(kept)
		return json.NewEncoder(os.Stdout).Encode(spent)
	}
	return fmt.Errorf("there is no client %q", name)
}

func plainGet(ctx context.Context, config *rest.Config) (any, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	body, err := client.CoreV1().RESTClient().Get().Resource("pods").SetHeader("Accept", "application/json").Stream(ctx)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, body)
	return nil, errors.Join(err, body.Close())
}

func stockDynamic(ctx context.Context, config *rest.Config) (any, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	factory := dynamicinformer.NewDynamicSharedInformerFactory(client, 0)
	return factory, inSync(ctx, factory.ForResource(corev1.SchemeGroupVersion.WithResource("pods")).Informer())
}

func typedNames(ctx context.Context, config *rest.Config) (any, error) {
	config.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(func(obj any) (any, error) {
		pod, ok := obj.(*corev1.Pod)
		if !ok {
			return obj, nil
		}
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		}}, nil
	}))
	return factory, inSync(ctx, factory.Core().V1().Pods().Informer())
}

// inSync runs an informer until its handler has received all pods.
func inSync(ctx context.Context, informer cache.SharedIndexInformer) error {
	handler, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{})
	if err != nil {
		return err
	}
	go informer.RunWithContext(ctx)
	select {
	case <-handler.HasSyncedChecker().Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
