package dumptest

import "fmt"

func (p replica) spec() object {
	spec := object{
		{"containers", p.containers(p.Containers, false)},
		{"dnsPolicy", "ClusterFirst"},
		{"enableServiceLinks", true},
		{"nodeName", p.nodeName()},
		{"preemptionPolicy", "PreemptLowerPriority"},
		{"priority", 0},
		{"restartPolicy", p.restartPolicy()},
		{"schedulerName", "default-scheduler"},
		{"securityContext", object{}},
		{"serviceAccount", p.Name},
		{"serviceAccountName", p.Name},
		{"terminationGracePeriodSeconds", 30},
		{"tolerations", list{toleration("not-ready"), toleration("unreachable")}},
		{"volumes", p.volumes()},
	}
	if len(p.Init) > 0 {
		spec.set("initContainers", p.containers(p.Init, true))
	}
	if p.Kind == "Node" || p.Kind == "DaemonSet" {
		spec.set("hostNetwork", true)
		spec.set("priorityClassName", "system-node-critical")
	}
	if p.Plain {
		spec.set("automountServiceAccountToken", false)
		return spec
	}
	spec.set("affinity", p.affinity())
	return spec
}

func (p replica) restartPolicy() string {
	if p.Kind == "Job" {
		return "OnFailure"
	}
	return "Always"
}

func toleration(condition string) object {
	return object{
		{"effect", "NoExecute"},
		{"key", "node.kubernetes.io/" + condition},
		{"operator", "Exists"},
		{"tolerationSeconds", 300},
	}
}

func (p replica) selector() object {
	return object{{"matchLabels", object{
		{"app.kubernetes.io/instance", p.Name},
		{"app.kubernetes.io/name", p.Name},
	}}}
}

func (p replica) affinity() object {
	return object{{"podAntiAffinity", object{{"preferredDuringSchedulingIgnoredDuringExecution", list{object{
		{"podAffinityTerm", object{
			{"labelSelector", p.selector()},
			{"topologyKey", "kubernetes.io/hostname"},
		}},
		{"weight", 100},
	}}}}}}
}

// tokenVolume is the name of the volume with the service account's token.
func (p replica) tokenVolume() string { return "kube-api-access-" + unique(p.random) }

func (p replica) volumes() list {
	config := object{{"configMap", object{{"defaultMode", 420}, {"name", p.Name + "-config"}}}, {"name", "config"}}
	if p.Plain {
		return list{config}
	}
	return list{config,
		object{{"name", p.tokenVolume()}, {"projected", object{{"defaultMode", 420}, {"sources", list{
			object{{"serviceAccountToken", object{{"expirationSeconds", 3607}, {"path", "token"}}}},
			object{{"configMap", object{
				{"items", list{object{{"key", "ca.crt"}, {"path", "ca.crt"}}}},
				{"name", "kube-root-ca.crt"},
			}}},
			object{{"downwardAPI", object{{"items", list{object{
				{"fieldRef", object{{"apiVersion", "v1"}, {"fieldPath", "metadata.namespace"}}},
				{"path", "namespace"},
			}}}}}},
		}}}}},
		object{{"emptyDir", object{}}, {"name", "tmp"}},
	}
}

func (p replica) containers(cs []Container, init bool) list {
	out := make(list, 0, len(cs))
	for _, c := range cs {
		out = append(out, p.container(c, init))
	}
	return out
}

func (p replica) container(c Container, init bool) object {
	o := object{
		{"image", c.Image},
		{"imagePullPolicy", pullPolicy(c.Image)},
		{"name", c.Name},
		{"resources", c.resources()},
		{"securityContext", c.securityContext()},
		{"terminationMessagePath", "/dev/termination-log"},
		{"terminationMessagePolicy", "File"},
		{"volumeMounts", p.mounts()},
	}
	if len(c.Args) > 0 {
		args := make(list, len(c.Args))
		for i, a := range c.Args {
			args[i] = a
		}
		o.set("args", args)
	}
	if c.Env > 0 {
		o.set("env", p.env(c))
	}
	if c.Port > 0 {
		o.set("ports", list{
			object{{"containerPort", c.Port}, {"name", "http"}, {"protocol", "TCP"}},
		})
	}
	if init && c.Sidecar {
		o.set("restartPolicy", "Always")
	}
	if c.Liveness {
		o.set("livenessProbe", probe("/healthz", 20, 3))
	}
	if c.Readiness {
		o.set("readinessProbe", probe("/readyz", 10, 3))
	}
	if c.Startup {
		o.set("startupProbe", probe("/healthz", 5, 30))
	}
	return o
}

// pullPolicy is what the API server fills in for an image that says nothing of it.
func pullPolicy(image string) string {
	if len(image) > 7 && image[len(image)-7:] == ":latest" {
		return "Always"
	}
	return "IfNotPresent"
}

func (c Container) resources() object {
	if c.Unlimited {
		return object{}
	}
	return object{
		{"limits", object{{"cpu", "500m"}, {"memory", "512Mi"}}},
		{"requests", object{{"cpu", "100m"}, {"memory", "256Mi"}}},
	}
}

func (c Container) securityContext() object {
	if c.Privileged {
		return object{{"privileged", true}}
	}
	return object{
		{"allowPrivilegeEscalation", false},
		{"capabilities", object{{"drop", list{"ALL"}}}},
		{"runAsNonRoot", true},
		{"runAsUser", 10001},
	}
}

func probe(path string, period, failures int) object {
	return object{
		{"failureThreshold", failures},
		{"httpGet", object{{"path", path}, {"port", "http"}, {"scheme", "HTTP"}}},
		{"initialDelaySeconds", 5},
		{"periodSeconds", period},
		{"successThreshold", 1},
		{"timeoutSeconds", 2},
	}
}

func (p replica) mounts() list {
	config := object{{"mountPath", "/etc/" + p.Name}, {"name", "config"}, {"readOnly", true}}
	if p.Plain {
		return list{config}
	}
	return list{config,
		object{{"mountPath", "/var/run/secrets/kubernetes.io/serviceaccount"}, {"name", p.tokenVolume()}, {"readOnly", true}},
		object{{"mountPath", "/tmp"}, {"name", "tmp"}},
	}
}

// settings are environment variables as workloads have them. They are made
// anew for each caller: printing sorts an object in place, and two goroutines may make pods at once.
func settings() []object {
	return []object{
		{{"name", "POD_NAME"}, {"valueFrom", object{{"fieldRef", object{{"apiVersion", "v1"}, {"fieldPath", "metadata.name"}}}}}},
		{{"name", "LOG_LEVEL"}, {"value", "info"}},
		{{"name", "HTTP_ADDR"}, {"value", ":8080"}},
		{{"name", "OTEL_EXPORTER_OTLP_ENDPOINT"}, {"value", "http://collector.telemetry.svc.cluster.local:4317"}},
		{{"name", "DATABASE_PASSWORD"}, {"valueFrom", object{{"secretKeyRef", object{{"key", "password"}, {"name", "database"}}}}}},
		{{"name", "DATABASE_URL"}, {"value", "postgres://app@database.data.svc.cluster.local:5432/app?sslmode=verify-full&pool_max_conns=20"}},
		{{"name", "GOMEMLIMIT"}, {"valueFrom", object{{"resourceFieldRef", object{{"divisor", "0"}, {"resource", "limits.memory"}}}}}},
		{{"name", "CACHE_HOSTS"}, {"value", "cache-0.cache.data.svc,cache-1.cache.data.svc,cache-2.cache.data.svc"}},
		{{"name", "FEATURES"}, {"value", `{"newBasket":true,"rate":0.25,"paths":["/a/{id}","/b"]}`}},
		{{"name", "REGION"}, {"value", "region-1"}},
		{{"name", "JAVA_TOOL_OPTIONS"}, {"value", "-XX:MaxRAMPercentage=75 -Dfile.encoding=UTF-8"}},
		{{"name", "SMTP_HOST"}, {"value", "mail.example.com"}},
		{{"name", "POD_IP"}, {"valueFrom", object{{"fieldRef", object{{"apiVersion", "v1"}, {"fieldPath", "status.podIP"}}}}}},
		{{"name", "API_TOKEN"}, {"valueFrom", object{{"secretKeyRef", object{{"key", "token"}, {"name", "api"}, {"optional", true}}}}}},
		{{"name", "SHUTDOWN_GRACE"}, {"value", "20s"}},
		{{"name", "GREETING"}, {"value", "Grüße, \"Welt\"\n"}},
	}
}

// env is n of the settings, other ones for each container, and numbered ones where these do not suffice.
func (p replica) env(c Container) list {
	env := make(list, 0, c.Env)
	known := settings()
	first := int(text(p.Name+"/"+c.Name) % uint64(len(known)))
	for i := range c.Env {
		if i < len(known) {
			env = append(env, known[(first+i)%len(known)])
			continue
		}
		env = append(env, object{
			{"name", fmt.Sprintf("UPSTREAM_%02d_URL", i-len(known))},
			{"value", fmt.Sprintf("http://service-%02d.%s.svc.cluster.local:8080", i-len(known), p.Namespace)},
		})
	}
	return env
}
