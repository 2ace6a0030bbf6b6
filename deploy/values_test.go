package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

const everything = "testdata/values/all.yaml"

// values reads a file of values.
func values(t *testing.T, path string) map[string]any {
	t.Helper()
	var all map[string]any
	if err := yaml.Unmarshal(content(t, path), &all); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return all
}

// leaves are the paths to everything in values that is not a map with entries.
func leaves(value any, path string) []string {
	object, ok := value.(map[string]any)
	if !ok || len(object) == 0 {
		return []string{path}
	}
	var all []string
	for key, inner := range object {
		all = append(all, leaves(inner, strings.TrimPrefix(path+"."+strings.ReplaceAll(key, ".", `\.`), "."))...)
	}
	slices.Sort(all)
	return all
}

// TestEveryValue renders the chart with every value set, checks that each is in the objects, and that the API types accept them. The
// parser rejects duplicate keys.
func TestEveryValue(t *testing.T) {
	set, defaults := values(t, everything), values(t, "chart/values.yaml")
	for _, path := range leaves(defaults, "") {
		if lookup(set, path) == nil && path != `nodeSelector.kubernetes\.io/os` {
			t.Errorf("%s does not set %s", everything, path)
		}
	}
	service := documents(t, render(t, "--values", everything))
	pods := documents(t, render(t, "--values", everything, "--set", "serviceMonitor.enabled=false,podMonitor.enabled=true"))
	for _, all := range [][]document{service, pods} {
		checkTypes(t, all)
	}
	deployment, account, rules := only(t, service, "Deployment"), only(t, service, "ServiceAccount"), only(t, service, "PrometheusRule")
	container := lookup(deployment, "spec.template.spec.containers.0")
	args := fmt.Sprint(lookup(container, "args"))
	for _, arg := range []string{
		"--policy=/etc/kube-devops/t.yaml", "--waivers=/etc/kube-devops/w.yaml", "--namespaces=shop,team-a", "--listen=:9090", "--health-listen=:9091",
		"--lease-namespace=leases", "--lease-name=lease", "--lease-duration=30s", "--renew-deadline=20s", "--retry-period=1s", "--log-level=debug",
		"--metrics-auth", "--audit-interval=5m", "--leader-service=elsewhere/first", "--pod-ips=$(POD_IPS)",
		"--external-url=https://governance.example.com/east/", "--history-url=https://grafana.example.com/d/kube-devops?var-namespace={namespace}",
	} {
		if !strings.Contains(args, arg) {
			t.Errorf("the arguments lack %s: %s", arg, args)
		}
	}
	leader := object(t, service, "Service", "first")
	type found struct {
		where any
		path  string
		want  any
	}
	finds := []found{
		{deployment, "metadata.name", "full"},
		{deployment, "metadata.namespace", "elsewhere"},
		{deployment, `metadata.labels.app\.kubernetes\.io/name`, "other"},
		{deployment, "metadata.labels.team", "platform"},
		{deployment, "metadata.annotations", map[string]any{"contact": "deployment", "prometheus.io/scrape": "common", "reloader": "true"}},
		{deployment, "spec.replicas", 3},
		{deployment, "spec.revisionHistoryLimit", 4},
		{deployment, "spec.minReadySeconds", 7},
		{deployment, "spec.strategy", map[string]any{"type": "RollingUpdate", "rollingUpdate": map[string]any{"maxUnavailable": 1, "maxSurge": "25%"}}},
		{deployment, "spec.template.metadata.labels", map[string]any{
			"app.kubernetes.io/name": "other", "app.kubernetes.io/instance": "kube-devops", "team": "pods", "release": "common",
		}},
		{deployment, "spec.template.metadata.annotations", map[string]any{
			"contact": "us", "kubectl.kubernetes.io/default-container": "other", "prometheus.io/scrape": "false",
		}},
		{deployment, "spec.template.spec.serviceAccountName", "account"},
		{deployment, "spec.template.spec.imagePullSecrets", []any{map[string]any{"name": "global"}, map[string]any{"name": "both"}, map[string]any{"name": "own"}}},
		{deployment, "spec.template.spec.securityContext.runAsUser", 1000},
		{deployment, "spec.template.spec.securityContext.fsGroup", 1002},
		{deployment, "spec.template.spec.nodeSelector", map[string]any{"kubernetes.io/arch": "arm64", "kubernetes.io/os": "linux"}},
		{deployment, "spec.template.spec.tolerations.0.key", "control-plane"},
		{deployment, "spec.template.spec.topologySpreadConstraints.0.topologyKey", "topology.kubernetes.io/zone"},
		{deployment, "spec.template.spec.priorityClassName", "system-cluster-critical"},
		{deployment, "spec.template.spec.runtimeClassName", "gvisor"},
		{deployment, "spec.template.spec.schedulerName", "packer"},
		{deployment, "spec.template.spec.hostNetwork", true},
		{deployment, "spec.template.spec.dnsPolicy", "None"},
		{deployment, "spec.template.spec.dnsConfig.nameservers.0", "192.0.2.53"},
		{deployment, "spec.template.spec.hostAliases.0.ip", "192.0.2.1"},
		{deployment, "spec.template.spec.terminationGracePeriodSeconds", 40},
		{deployment, "spec.template.spec.volumes.0.configMap.name", "ours"},
		{deployment, "spec.template.spec.volumes.1.secret", map[string]any{"secretName": "tls", "defaultMode": 0o440}},
		{deployment, "spec.template.spec.volumes.2.name", "roots"},
		{container, "image", "mirror.example:5000/tools/kube-devops:v9@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
		{container, "imagePullPolicy", "Always"},
		{container, "env", []any{
			map[string]any{"name": "POD_IPS", "valueFrom": map[string]any{"fieldRef": map[string]any{"fieldPath": "status.podIPs"}}},
			map[string]any{"name": "GOMEMLIMIT", "value": "99MiB"}, map[string]any{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"},
		}},
		{container, "ports", []any{map[string]any{"name": "http", "containerPort": 9090}, map[string]any{"name": "health", "containerPort": 9091}}},
		{container, "livenessProbe", map[string]any{
			"httpGet":             map[string]any{"path": "/healthz", "port": "health", "scheme": "HTTP"},
			"initialDelaySeconds": 3, "periodSeconds": 11, "timeoutSeconds": 4, "failureThreshold": 5,
		}},
		{container, "readinessProbe", map[string]any{
			"httpGet": map[string]any{"path": "/readyz", "port": "health", "scheme": "HTTP"}, "periodSeconds": 12, "timeoutSeconds": 6, "failureThreshold": 8,
		}},
		{container, "resources.limits.memory", "257Mi"},
		{container, "securityContext.runAsUser", 1003},
		{container, "volumeMounts.2.mountPath", "/etc/ssl/certs"},
		{account, "metadata.name", "account"},
		{account, "metadata.annotations.contact", "account"},
		{only(t, service, "NetworkPolicy"), "spec.ingress", []any{
			map[string]any{"ports": []any{map[string]any{"port": "http"}}, "from": []any{map[string]any{"podSelector": map[string]any{}}}},
			map[string]any{"ports": []any{map[string]any{"port": "health"}}}, // not limited: the probes of the kubelet
		}},
		{object(t, service, "Service", "full"), "spec.ipFamilyPolicy", "PreferDualStack"},
		{object(t, service, "Service", "full"), "spec.ipFamilies", []any{"IPv6", "IPv4"}},
		{object(t, service, "Service", "full"), "spec.type", "LoadBalancer"},
		{object(t, service, "Service", "full"), "metadata.annotations.contact", "service"},
		{only(t, service, "ValidatingAdmissionPolicy"), "metadata.name", "ours"},
		{only(t, service, "ValidatingAdmissionPolicyBinding"), "spec.validationActions", []any{"Deny"}},
		{leader, "spec.type", "NodePort"},
		{leader, "spec.ports", []any{map[string]any{"name": "http", "port": 8443, "appProtocol": "https"}}},
		{leader, "spec.selector", nil},
		{leader, "spec.ipFamilyPolicy", "RequireDualStack"},
		{leader, "spec.ipFamilies", []any{"IPv6"}},
		{leader, "metadata.annotations.contact", "leader"},
		{object(t, service, "Role", "first-service"), "rules.1", map[string]any{
			"apiGroups": []any{"discovery.k8s.io"}, "resources": []any{"endpointslices/restricted"},
			"resourceNames": []any{"first-ipv4", "first-ipv6"}, "verbs": []any{"create"},
		}},
		{rules, "metadata.namespace", "rules"},
		{rules, "metadata.labels.release", "prometheus"},
		{rules, "metadata.annotations.contact", "rules"},
		{object(t, service, "ConfigMap", "full-dashboards"), "metadata.namespace", "grafana"},
		{object(t, service, "ConfigMap", "full-dashboards"), "metadata.labels.grafana_dashboard", "2"},
		{object(t, service, "ConfigMap", "full-dashboards"), "metadata.labels.release", "grafana"},
		{object(t, service, "ConfigMap", "full-dashboards"), "metadata.annotations.contact", "dashboards"},
		{only(t, service, "Namespace"), "metadata.name", "elsewhere"},
	}
	for _, monitor := range []struct {
		object    map[string]any
		endpoints string
	}{{only(t, service, "ServiceMonitor"), "endpoints"}, {only(t, pods, "PodMonitor"), "podMetricsEndpoints"}} {
		endpoint := lookup(monitor.object, "spec."+monitor.endpoints+".0")
		finds = append(finds,
			found{monitor.object, "metadata.namespace", "monitoring"},
			found{monitor.object, "metadata.labels.release", "prometheus"},
			found{monitor.object, `metadata.labels.app\.kubernetes\.io/name`, "monitors"},
			found{monitor.object, "metadata.annotations.contact", "monitor"},
			found{monitor.object, "spec.namespaceSelector.matchNames", []any{"elsewhere"}},
			found{endpoint, "interval", "31s"},
			found{endpoint, "scrapeTimeout", "11s"},
			found{endpoint, "relabelings.0.replacement", "east"},
			found{endpoint, "metricRelabelings.2.regex", "go_.*"},
			found{endpoint, "tlsConfig.serverName", "kube-devops.example"},
			found{endpoint, "authorization.credentials.name", "token"},
		)
	}
	for _, f := range finds {
		if got, want := asJSON(t, lookup(f.where, f.path)), asJSON(t, f.want); got != want {
			t.Errorf("%s is %s, want %s", f.path, got, want)
		}
	}
}

// checkTypes decodes each Kubernetes object strictly, and rejects lists with duplicate names.
func checkTypes(t *testing.T, all []document) {
	t.Helper()
	for _, d := range all {
		typed := map[string]any{
			"ConfigMap": new(corev1.ConfigMap), "ClusterRole": new(rbacv1.ClusterRole), "ClusterRoleBinding": new(rbacv1.ClusterRoleBinding),
			"Deployment": new(appsv1.Deployment), "Namespace": new(corev1.Namespace), "NetworkPolicy": new(networkingv1.NetworkPolicy),
			"PodDisruptionBudget": new(policyv1.PodDisruptionBudget), "Role": new(rbacv1.Role), "RoleBinding": new(rbacv1.RoleBinding),
			"ValidatingAdmissionPolicy":        new(admissionregistrationv1.ValidatingAdmissionPolicy),
			"ValidatingAdmissionPolicyBinding": new(admissionregistrationv1.ValidatingAdmissionPolicyBinding),
			"EndpointSlice":                    new(discoveryv1.EndpointSlice), "Service": new(corev1.Service), "ServiceAccount": new(corev1.ServiceAccount),
		}[d.GetKind()]
		if typed == nil {
			if d.GroupVersionKind().Group != "monitoring.coreos.com" {
				t.Errorf("the test does not know the kind %s", d.GetKind())
			}
			continue
		}
		if err := yaml.UnmarshalStrict([]byte(d.text), typed); err != nil {
			t.Errorf("%s %s: %v\n%s", d.GetKind(), d.GetName(), err, d.text)
		}
		deployment, ok := typed.(*appsv1.Deployment)
		if !ok {
			continue
		}
		pod := deployment.Spec.Template.Spec
		var names []string
		for _, volume := range pod.Volumes {
			names = append(names, "volume "+volume.Name)
		}
		for _, container := range pod.Containers {
			for _, variable := range container.Env {
				names = append(names, "variable "+variable.Name)
			}
			for _, mount := range container.VolumeMounts {
				names = append(names, "mount "+mount.MountPath)
			}
			for _, port := range container.Ports {
				names = append(names, "port "+port.Name)
			}
		}
		slices.Sort(names)
		for i := range names[min(1, len(names)):] {
			if names[i] == names[i+1] {
				t.Errorf("%s is there twice", names[i])
			}
		}
	}
}

// TestTypes checks that the API types accept every setting.
func TestTypes(t *testing.T) {
	for _, setting := range settings {
		checkTypes(t, documents(t, render(t, setting.flags...)))
	}
}

// TestNull sets each value to null, which removes the default: the chart renders, or names the value that it needs.
func TestNull(t *testing.T) {
	defaults := values(t, "chart/values.yaml")
	for _, path := range []string{
		"resources", "podSecurityContext", "securityContext", "nodeSelector", "affinity", "tolerations", "global", "extraEnv", "extraArgs", "extraVolumes",
		"extraVolumeMounts", "imagePullSecrets", "commonLabels", "commonAnnotations", "podLabels", "podAnnotations", "namespaces", "dnsConfig", "hostAliases",
	} {
		if _, known := defaults[path]; !known {
			t.Errorf("%s is not a value", path)
		}
		deployment := only(t, documents(t, render(t, "--set", path+"=null")), "Deployment")
		if path == "resources" && (lookup(deployment, "spec.template.spec.containers.0.resources") != nil || lookup(deployment, "spec.template.spec.containers.0.env") != nil) {
			t.Errorf("without resources there still is a limit: %v", lookup(deployment, "spec.template.spec.containers.0"))
		}
	}
	for _, path := range []string{"http", "lease", "service", "image", "rbac", "serviceMonitor", "updateStrategy"} {
		_, err := helm(t.Context(), t.TempDir(), "template", "kube-devops", chart, "--set", path+"=null")
		if err == nil || !strings.Contains(err.Error(), "missing property '"+path+"'") {
			t.Errorf("%s=null: error %v, want one that names the property", path, err)
		}
	}
}

// TestOpenShift checks the pod against OpenShift's SecurityContextConstraints restricted-v2, which assign user and group IDs from a
// range of the namespace and reject others.
func TestOpenShift(t *testing.T) {
	const null = "podSecurityContext.runAsUser=null,podSecurityContext.runAsGroup=null,podSecurityContext.fsGroup=null"
	for _, test := range []struct {
		name string
		set  string
		want []string
	}{
		{"the ids of the chart", "replicas=2", []string{"fsGroup 65532 is not in the range", "runAsUser 65532 is not in the range"}},
		{"no ids", null, nil},
		{"no ids, with TLS and a policy", null + ",http.tls.secretName=tls,policy.existingConfigMap=ours", nil},
		{"the network of the host", null + ",hostNetwork=true", []string{"hostNetwork"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, d := range documents(t, render(t, "--set", test.set)) {
				if d.GetKind() != "Deployment" {
					continue
				}
				deployment := new(appsv1.Deployment)
				if err := yaml.UnmarshalStrict([]byte(d.text), deployment); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, restrictedV2(deployment.Spec.Template.Spec)); diff != "" {
					t.Errorf("what restricted-v2 refuses (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// restrictedV2 is what the constraints refuse of a pod, sorted.
func restrictedV2(pod corev1.PodSpec) []string {
	var refused []string
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			refused = append(refused, fmt.Sprintf(format, args...))
		}
	}
	id := func(name string, id *int64) {
		refuse(id != nil && (*id < 1000680000 || *id >= 1000690000), "%s %d is not in the range", name, deref(id))
	}
	refuse(pod.HostNetwork, "hostNetwork")
	refuse(pod.HostPID, "hostPID")
	refuse(pod.HostIPC, "hostIPC")
	if s := pod.SecurityContext; s != nil {
		id("runAsUser", s.RunAsUser)
		id("fsGroup", s.FSGroup)
		refuse(s.SELinuxOptions != nil, "seLinuxOptions")
		refuse(len(s.Sysctls) > 0, "sysctls")
		refuse(s.SeccompProfile != nil && s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault, "seccompProfile")
	}
	for _, v := range pod.Volumes {
		refuse(v.ConfigMap == nil && v.CSI == nil && v.DownwardAPI == nil && v.EmptyDir == nil && v.Ephemeral == nil &&
			v.PersistentVolumeClaim == nil && v.Projected == nil && v.Secret == nil, "volume %s", v.Name)
	}
	for _, c := range append(slices.Clone(pod.InitContainers), pod.Containers...) {
		for _, port := range c.Ports {
			refuse(port.HostPort != 0, "host port %d", port.HostPort)
		}
		s := c.SecurityContext
		if s == nil {
			continue // what is missing is set by the admission
		}
		id("runAsUser of "+c.Name, s.RunAsUser)
		refuse(s.Privileged != nil && *s.Privileged, "privileged %s", c.Name)
		refuse(s.AllowPrivilegeEscalation != nil && *s.AllowPrivilegeEscalation, "allowPrivilegeEscalation %s", c.Name)
		if s.Capabilities != nil {
			for _, added := range s.Capabilities.Add {
				refuse(added != "NET_BIND_SERVICE", "capability %s", added)
			}
		}
	}
	slices.Sort(refused)
	return refused
}

func deref(id *int64) int64 {
	if id == nil {
		return 0
	}
	return *id
}

// TestNamespaces checks that an installation for selected namespaces has a Role in each of them, and no cluster-wide permission.
func TestNamespaces(t *testing.T) {
	all := documents(t, render(t, "--set", "namespaces={shop,team-a}"))
	for _, d := range all {
		if strings.HasPrefix(d.GetKind(), "Cluster") {
			t.Errorf("%s %s is rendered", d.GetKind(), d.GetName())
		}
	}
	for _, namespace := range []string{"shop", "team-a"} {
		var got []string
		for _, d := range all {
			if d.GetNamespace() != namespace {
				continue
			}
			got = append(got, d.GetKind()+"/"+d.GetName())
			if d.GetKind() == "Role" && asJSON(t, lookup(d.Object, "rules")) != `[{"apiGroups":[""],"resources":["pods"],"verbs":["list","watch"]}]` {
				t.Errorf("the Role in %s grants %v", namespace, lookup(d.Object, "rules"))
			}
			if d.GetKind() == "RoleBinding" && (lookup(d.Object, "roleRef.name") != "kube-devops-pods" || lookup(d.Object, "subjects.0.namespace") != "kube-devops") {
				t.Errorf("the RoleBinding in %s is %v", namespace, d.Object)
			}
		}
		if diff := cmp.Diff([]string{"Role/kube-devops-pods", "RoleBinding/kube-devops-pods"}, got); diff != "" {
			t.Errorf("objects in %s (-want +got):\n%s", namespace, diff)
		}
	}
	if args := fmt.Sprint(lookup(only(t, all, "Deployment"), "spec.template.spec.containers.0.args")); !strings.Contains(args, "--namespaces=shop,team-a") ||
		!strings.Contains(args, "--lease-namespace=kube-devops ") {
		t.Errorf("arguments %s, want the namespaces, and the Lease beside the agent", args)
	}
	if role := object(t, all, "Role", "kube-devops"); lookup(role, "metadata.namespace") != "kube-devops" {
		t.Errorf("the Role for the Lease is in %v", lookup(role, "metadata.namespace"))
	}
	for _, name := range []string{"kube-devops", "kube-devops-pods"} { // the namespace of the agent may be one of them
		object(t, documents(t, render(t, "--set", "namespaces={kube-devops}")), "Role", name)
	}
}

// TestVariants tests values that cannot be combined with those of TestEveryValue.
func TestVariants(t *testing.T) {
	const spec = "Deployment spec.template.spec."
	for _, test := range []struct {
		set, path string
		want      any
	}{
		{"updateStrategy.type=Recreate", "Deployment spec.strategy", map[string]any{"type": "Recreate"}},
		{"hostNetwork=true", spec + "dnsPolicy", "ClusterFirstWithHostNet"},
		{"dnsPolicy=Default", spec + "dnsPolicy", "Default"},
		{"replicas=2", spec + "dnsPolicy", nil},
		{"replicas=2", spec + `nodeSelector.kubernetes\.io/os`, "linux"},
		{`nodeSelector.kubernetes\.io/os=null`, spec + "nodeSelector", nil},
		{"resources.limits.memory=512M", spec + "containers.0.env.0.value", "439MiB"},
		{"resources.limits.memory=1.5Gi", spec + "containers.0.env.0.value", "1382MiB"},
		{"global.imageRegistry=mirror.example", spec + "containers.0.image", "mirror.example/kube-devops:dev"},
		{"global.imageRegistry=mirror.example/proxy/,image.repository=localhost/a/b", spec + "containers.0.image", "mirror.example/proxy/a/b:dev"},
		{"global.imageRegistry=mirror.example,image.repository=a/b", spec + "containers.0.image", "mirror.example/a/b:dev"},
		{"healthListen=8081", spec + "containers.0.livenessProbe.httpGet.port", "health"},
		{"podMonitor.enabled=true,podMonitor.namespace=kube-devops", "PodMonitor spec.namespaceSelector", nil},
	} {
		kind, path, _ := strings.Cut(test.path, " ")
		got := lookup(only(t, documents(t, render(t, "--set", test.set)), kind), path)
		if asJSON(t, got) != asJSON(t, test.want) {
			t.Errorf("--set %s: %s is %v, want %v", test.set, path, got, test.want)
		}
	}
	if all := kinds(documents(t, render(t, "--set", "service.enabled=false"))); slices.Contains(all, "Service/kube-devops") {
		t.Errorf("with service.enabled=false there are %v", all)
	}
}

// TestNamespaceLabel checks that monitors, rules and dashboards use the same label for the scored namespace.
func TestNamespaceLabel(t *testing.T) {
	const set = "namespaceLabel=scored_namespace,serviceMonitor.enabled=true,prometheusRule.enabled=true,prometheusRule.fleet=true,dashboard.enabled=true"
	all := documents(t, render(t, "--set", set))
	t.Run("monitor", func(t *testing.T) {
		endpoint := lookup(only(t, all, "ServiceMonitor"), "spec.endpoints.0")
		if lookup(endpoint, "honorLabels") != false {
			t.Error("the monitor honors labels: without a Prometheus that overrides it, exported_namespace is missing")
		}
		var configs []*relabel.Config
		for _, entry := range lookup(endpoint, "metricRelabelings").([]any) {
			config := relabel.DefaultRelabelConfig
			config.NameValidationScheme = model.UTF8Validation
			rule := entry.(map[string]any)
			if source := optional[[]any](rule, "sourceLabels"); source != nil {
				config.SourceLabels = model.LabelNames{model.LabelName(source[0].(string))}
			}
			config.Regex = relabel.MustNewRegexp(rule["regex"].(string))
			config.TargetLabel = optional[string](rule, "targetLabel")
			if action := optional[string](rule, "action"); action != "" {
				config.Action = relabel.Action(action)
			}
			configs = append(configs, &config)
		}
		for given, want := range map[string]string{
			`{namespace="kube-devops", exported_namespace="shop"}`: `{namespace="kube-devops", scored_namespace="shop"}`,
			`{namespace="kube-devops"}`:                            `{namespace="kube-devops"}`, // the cluster's
		} {
			b := labels.NewBuilder(parseLabels(t, given))
			if !relabel.ProcessBuilder(b, configs...) || b.Labels().String() != want {
				t.Errorf("%s becomes %s, want %s", given, b.Labels(), want)
			}
		}
	})
	t.Run("rules", func(t *testing.T) {
		dir := t.TempDir()
		text, err := yaml.Marshal(map[string]any{"groups": withoutRunbook(lookup(only(t, all, "PrometheusRule"), "spec.groups").([]any))})
		if err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string][]byte{"rules.yaml": text, "cases.yaml": content(t, "testdata/rules/label.yaml")} {
			if err := os.WriteFile(filepath.Join(dir, file), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		promtool(t, dir, "test", "rules", "cases.yaml")
	})
	t.Run("dashboards", func(t *testing.T) {
		dashboards := object(t, all, "ConfigMap", "kube-devops-dashboards")["data"].(map[string]any)
		for name, text := range dashboards {
			path := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(path, []byte(text.(string)), 0o644); err != nil {
				t.Fatal(err)
			}
			for where, expression := range panels(t, path) {
				if slices.Contains(labelNames(t, where, expression), "namespace") {
					t.Errorf("%s uses the label namespace: %s", where, expression)
				}
			}
			if !strings.Contains(text.(string), "scored_namespace") || strings.Contains(text.(string), "{{namespace}}") {
				t.Errorf("%s does not use the label scored_namespace everywhere", name)
			}
		}
	})
}

// withoutRunbook takes the runbook lines out of groups of rules, since they would be repeated in each test case.
func withoutRunbook(groups []any) []any {
	for _, group := range groups {
		for _, rule := range group.(map[string]any)["rules"].([]any) {
			delete(optional[map[string]any](rule.(map[string]any), "annotations"), "runbook")
		}
	}
	return groups
}

// TestCritical checks that rules and dashboards use the configured grade and threshold for Critical.
func TestCritical(t *testing.T) {
	for set, want := range map[string][]string{
		"replicas=2":                        {"< bool 0.4", ">= bool 3"},
		"prometheusRule.criticalBelow=55":   {"< bool 0.55", ">= bool 3"},
		"prometheusRule.criticalBelow=33.3": {"< bool 0.333", ">= bool 3"},
		"prometheusRule.criticalGrade=2":    {"< bool 0.4", ">= bool 2"},
	} {
		all := documents(t, render(t, "--set", "prometheusRule.enabled=true,dashboard.enabled=true", "--set", set))
		rules := asText(t, lookup(only(t, all, "PrometheusRule"), "spec"))
		dashboard := asText(t, lookup(object(t, all, "ConfigMap", "kube-devops-dashboards"), `data.kube-devops\.json`))
		for where, text := range map[string]string{"rules": rules, "dashboard": dashboard} {
			for _, border := range want {
				if strings.Count(text, border+")")+strings.Count(text, border+" or") != 1 {
					t.Errorf("with %s the %s have %q %d times, want once", set, where, border, strings.Count(text, border))
				}
			}
			if strings.Count(text, "< bool 0.") != 1 || strings.Count(text, ">= bool ") != 1 {
				t.Errorf("with %s the %s have another border", set, where)
			}
		}
	}
}

// TestExternalURL checks the links of alerts and dashboard to the status page, which are absent without its address.
func TestExternalURL(t *testing.T) {
	const enabled = "prometheusRule.enabled=true,prometheusRule.fleet=true,dashboard.enabled=true"
	const namespaces = "https://governance.example.com/namespaces/{{ $labels."
	for set, want := range map[string]map[string]string{
		"replicas=2": {},
		"externalURL=https://governance.example.com/": {
			"KubeDevopsNamespaceCritical": namespaces + "namespace }}", "KubeDevopsNamespaceForbidden": namespaces + "namespace }}",
			"KubeDevopsEvaluationErrors":  namespaces + "namespace }}",
			"KubeDevopsComplianceFalling": "https://governance.example.com/", "KubeDevopsCriticalAtInstallation": "https://governance.example.com/",
			"KubeDevopsWaiverExpires":       "https://governance.example.com/waivers",
			"KubeDevopsPolicyReloadFailing": "https://governance.example.com/policy", "KubeDevopsPoliciesDiffer": "https://governance.example.com/policy",
		},
		"externalURL=https://governance.example.com/,namespaceLabel=scored_namespace": {
			"KubeDevopsNamespaceCritical": namespaces + "scored_namespace }}",
		},
	} {
		all := documents(t, render(t, "--set", enabled, "--set", set))
		pages := make(map[string]string)
		for _, group := range field[[]any](t, only(t, all, "PrometheusRule"), "spec", "groups") {
			for _, r := range lookup(group, "rules").([]any) {
				if page, ok := lookup(r, "annotations.page").(string); ok {
					pages[lookup(r, "alert").(string)] = page
				}
			}
		}
		for alert, page := range want {
			if pages[alert] != page {
				t.Errorf("with %s the page of %s is %q, want %q", set, alert, pages[alert], page)
			}
		}
		if len(want) != 1 && len(pages) != len(want) {
			t.Errorf("with %s there are other pages: %v", set, pages)
		}
		text := field[string](t, object(t, all, "ConfigMap", "kube-devops-dashboards"), "data", "kube-devops.json")
		var dashboard struct {
			Links []struct{ Title, URL string }
		}
		if err := json.Unmarshal([]byte(text), &dashboard); err != nil {
			t.Fatal(err)
		}
		if links := len(dashboard.Links); links != min(len(want), 1) || links == 1 && dashboard.Links[0].URL != "https://governance.example.com/" {
			t.Errorf("with %s the dashboard has the links %v", set, dashboard.Links)
		}
	}
}

// asText is JSON with its comparisons legible.
func asText(t *testing.T, value any) string {
	t.Helper()
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(asJSON(t, value))
}

func parseLabels(t *testing.T, text string) labels.Labels {
	t.Helper()
	var pairs []string
	for part := range strings.SplitSeq(strings.Trim(text, "{}"), ", ") {
		name, value, _ := strings.Cut(part, "=")
		value, err := strconv.Unquote(value)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, name, value)
	}
	return labels.FromStrings(pairs...)
}
