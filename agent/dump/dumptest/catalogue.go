package dumptest

// app is a container that does all that the rules ask for.
func app(name, image string) Container {
	return Container{Name: name, Image: "registry.example.com/" + image, Liveness: true, Readiness: true, Port: 8080, Env: 3}
}

// bare is a container without probes.
func bare(name, image string) Container {
	return Container{Name: name, Image: "registry.example.com/" + image, Port: 8080, Env: 2}
}

// proxy is a native sidecar: an init container that keeps running.
func proxy(image string) Container {
	return Container{Name: "proxy", Image: "registry.example.com/" + image, Sidecar: true, Startup: true, Env: 1,
		Args: []string{"proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc.cluster.local", "--concurrency", "2"}}
}

// migrate is an init container with a shell script, full of characters that JSON escapes.
func migrate(image string) Container {
	return Container{Name: "migrate", Image: "registry.example.com/" + image, Env: 1,
		Args: []string{"sh", "-ec", "until nc -z database 5432; do\n  echo \"waiting for {database}\"\n  sleep 1\ndone\nexec /app/migrate --path='C:\\\\x' up\n"}}
}

// fail makes a container one that keeps crashing.
func fail(c Container) Container {
	c.Waiting, c.Restarts = "CrashLoopBackOff", 41
	return c
}

// live removes the readiness probe.
func live(c Container) Container {
	c.Readiness = false
	return c
}

// catalogue is what [WriteList] draws from. A workload that stands here twice has twice as many pods.
var catalogue = []Workload{
	// storefront: well kept, but for one.
	{Namespace: "storefront", Name: "web", Kind: "Deployment", Part: "storefront", Init: []Container{proxy("mesh/proxy:1.27.1")}, Containers: []Container{app("web", "shop/web:5.21.0")}},
	{Namespace: "storefront", Name: "web", Kind: "Deployment", Part: "storefront", Init: []Container{proxy("mesh/proxy:1.27.1")}, Containers: []Container{app("web", "shop/web:5.21.0")}},
	{Namespace: "storefront", Name: "basket", Kind: "Deployment", Part: "storefront", Init: []Container{proxy("mesh/proxy:1.27.1")}, Containers: []Container{app("basket", "shop/basket:3.4.2")}},
	{Namespace: "storefront", Name: "banner", Kind: "Deployment", Part: "storefront", Containers: []Container{live(app("banner", "shop/banner:latest"))}},
	// checkout: everything in order.
	{Namespace: "checkout", Name: "checkout-api", Kind: "Deployment", Part: "checkout", Init: []Container{proxy("mesh/proxy:1.27.1")}, Containers: []Container{app("api", "shop/checkout:8.0.3")}},
	{Namespace: "checkout", Name: "checkout-api", Kind: "Deployment", Part: "checkout", Init: []Container{proxy("mesh/proxy:1.27.1")}, Containers: []Container{app("api", "shop/checkout:8.0.3")}},
	{Namespace: "checkout", Name: "tax", Kind: "Deployment", Part: "checkout", Containers: []Container{app("tax", "shop/tax@sha256:4f7c1f3f6c2d0a9d4a0c8e0f7f4bd1c0c5a1b8f1b0f6a5f8f3f1c6a7e2d9b0c4")}},
	// payments: pinned, with workers without probes.
	{Namespace: "payments", Name: "payments-api", Kind: "Deployment", Part: "payments", Containers: []Container{app("api", "pay/api:2026.8.4"), bare("audit", "pay/audit:1.1.0")}},
	{Namespace: "payments", Name: "payments-worker", Kind: "Deployment", Part: "payments", Containers: []Container{bare("worker", "pay/worker:2026.8.4")}},
	{Namespace: "payments", Name: "settlement", Kind: "Job", Part: "payments", Done: true, Containers: []Container{bare("settle", "pay/settle:2026.8.4")}},
	// search: stateful, one probe short.
	{Namespace: "search", Name: "index", Kind: "StatefulSet", Part: "search", Init: []Container{migrate("search/index:9.1.0")}, Containers: []Container{live(app("index", "search/index:9.1.0"))}},
	{Namespace: "search", Name: "query", Kind: "Deployment", Part: "search", Containers: []Container{app("query", "search/query:latest")}},
	// media: images that move.
	{Namespace: "media", Name: "transcode", Kind: "Deployment", Part: "media", Containers: []Container{bare("transcode", "media/transcode:latest"), app("queue", "media/queue:4.0.1")}},
	{Namespace: "media", Name: "thumbnails", Kind: "Deployment", Part: "media", Containers: []Container{live(app("thumbnails", "media/thumbnails:latest"))}},
	// batch: Jobs that are done.
	{Namespace: "batch", Name: "nightly-export", Kind: "Job", Part: "batch", Done: true, Init: []Container{migrate("batch/export:0.4.1")}, Containers: []Container{bare("export", "batch/export:0.4.1")}},
	{Namespace: "batch", Name: "report", Kind: "Job", Part: "batch", Done: true, Containers: []Container{bare("report", "batch/report:latest")}},
	// data: what everything else leans on.
	{Namespace: "data", Name: "database", Kind: "StatefulSet", Part: "data", Init: []Container{migrate("data/postgres:17.2")}, Containers: []Container{app("postgres", "data/postgres:17.2"), app("exporter", "data/exporter:0.16.0")}},
	{Namespace: "data", Name: "cache", Kind: "StatefulSet", Part: "data", Containers: []Container{app("redis", "data/redis:7.4.2"), bare("exporter", "data/redis-exporter:latest")}},
	// legacy: without an owner.
	{Namespace: "legacy", Name: "reports", Kind: "Deployment", Part: "legacy", Containers: []Container{fail(bare("reports", "legacy/reports:latest"))}},
	{Namespace: "legacy", Name: "intranet", Kind: "Deployment", Part: "legacy", Containers: []Container{bare("intranet", "legacy/intranet:latest")}},
	// telemetry: an agent on each node.
	{Namespace: "telemetry", Name: "collector", Kind: "DaemonSet", Part: "telemetry", Containers: []Container{live(app("collector", "telemetry/collector:0.131.0"))}},
	// kube-system: excluded by the default table, and part of every recording.
	{Namespace: "kube-system", Name: "coredns", Kind: "Deployment", Part: "kube-system", Containers: []Container{app("coredns", "k8s/coredns:v1.12.3")}},
	{Namespace: "kube-system", Name: "kube-proxy", Kind: "DaemonSet", Part: "kube-system", Containers: []Container{bare("kube-proxy", "k8s/kube-proxy:v1.37.2")}},
}
