package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// settings are ways to install the chart, each with what is rendered beyond the rest.
var settings = []struct {
	name    string
	flags   []string
	objects []string
}{
	{name: "nothing set"},
	{name: "a policy of one's own", flags: []string{"--set-file", "policy.table=../testdata/policies/ours.yaml"},
		objects: []string{"ConfigMap/kube-devops-policy"}},
	{name: "a policy as YAML, with waivers", flags: []string{"--values", "testdata/values/policy.yaml"},
		objects: []string{"ConfigMap/kube-devops-policy"}},
	{name: "a ConfigMap of one's own", flags: []string{"--set", "policy.existingConfigMap=ours,policy.waiversKey=waivers.yaml"}},
	{name: "TLS and authorization", flags: []string{"--set", "http.tls.secretName=tls,http.auth=true"},
		objects: []string{"ClusterRole/kube-devops-auth", "ClusterRole/kube-devops-metrics-reader", "ClusterRoleBinding/kube-devops-auth"}},
	{name: "the Prometheus Operator", flags: []string{"--set", "serviceMonitor.enabled=true,prometheusRule.enabled=true,prometheusRule.fleet=true"},
		objects: []string{"PrometheusRule/kube-devops", "ServiceMonitor/kube-devops"}},
	{name: "pods, without the Service", flags: []string{"--values", "testdata/values/podmonitor.yaml"},
		objects: []string{"PodMonitor/kube-devops"}},
	{name: "a dashboard", flags: []string{"--set", "dashboard.enabled=true"}, objects: []string{"ConfigMap/kube-devops-dashboards"}},
	{name: "a network policy", flags: []string{"--values", "testdata/values/network.yaml"}, objects: []string{"NetworkPolicy/kube-devops"}},
	{name: "a Service of the leader", flags: []string{"--set", "leaderService.enabled=true"}, objects: leaderObjects},
	{name: "its namespace", flags: []string{"--set", "namespace.create=true"}, objects: []string{"Namespace/kube-devops"}},
	{name: "where it runs", flags: []string{"--values", "testdata/values/placed.yaml"}},
}

// always is what every installation has.
var always = []string{
	"ClusterRole/kube-devops", "ClusterRoleBinding/kube-devops", "Deployment/kube-devops", "PodDisruptionBudget/kube-devops",
	"Role/kube-devops", "RoleBinding/kube-devops", "Service/kube-devops", "ServiceAccount/kube-devops",
}

// leaderObjects are those of leaderService.enabled.
var leaderObjects = []string{
	"EndpointSlice/kube-devops-leader-ipv4", "EndpointSlice/kube-devops-leader-ipv6", "Role/kube-devops-leader-service",
	"RoleBinding/kube-devops-leader-service", "Service/kube-devops-leader",
}

// TestChart lints and renders the chart in every setting, and holds each to what no setting may change.
func TestChart(t *testing.T) {
	for _, setting := range settings {
		t.Run(setting.name, func(t *testing.T) {
			if out, err := helm(t.Context(), t.TempDir(), append([]string{"lint", "--strict", chart}, setting.flags...)...); err != nil {
				t.Errorf("helm lint: %v%s", err, out)
			}
			all := documents(t, render(t, setting.flags...))
			want, got := slices.Concat(always, setting.objects), kinds(all)
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
			checkDeployment(t, object(t, all, "Deployment", "kube-devops"))
			checkPermissions(t, all)
			checkLabels(t, all)
		})
	}
}

// checkLabels has every object be found by the labels that tools look for.
func checkLabels(t *testing.T, all []document) {
	t.Helper()
	for _, d := range all {
		labels := d.GetLabels()
		for name, want := range map[string]string{
			"app.kubernetes.io/name": "kube-devops", "app.kubernetes.io/instance": "kube-devops", "app.kubernetes.io/version": "dev",
			"app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "kube-devops-0.0.0",
		} {
			if labels[name] != want {
				t.Errorf("%s %s has the label %s=%q, want %q", d.GetKind(), d.GetName(), name, labels[name], want)
			}
		}
	}
}

// checkDeployment has what every pod of the agent is: restricted, never away as a whole, and fed by a folder.
func checkDeployment(t *testing.T, deployment map[string]any) {
	t.Helper()
	pod := field[map[string]any](t, deployment, "spec", "template", "spec")
	container := field[[]any](t, pod, "containers")[0].(map[string]any)
	for path, want := range map[string]any{
		"spec.strategy.rollingUpdate.maxUnavailable":                      0,
		"spec.strategy.rollingUpdate.maxSurge":                            1,
		"spec.template.spec.securityContext.runAsNonRoot":                 true,
		"spec.template.spec.securityContext.runAsUser":                    65532,
		"spec.template.spec.securityContext.seccompProfile.type":          "RuntimeDefault",
		"spec.template.spec.enableServiceLinks":                           false,
		"spec.template.spec.serviceAccountName":                           "kube-devops",
		"container.securityContext.allowPrivilegeEscalation":              false,
		"container.securityContext.readOnlyRootFilesystem":                true,
		"container.securityContext.capabilities.drop":                     []any{"ALL"},
		"container.livenessProbe.httpGet.path":                            "/healthz",
		"container.readinessProbe.httpGet.path":                           "/readyz",
		"spec.template.spec.topologySpreadConstraints.0.maxSkew":          1,
		"spec.template.spec.topologySpreadConstraints.0.matchLabelKeys.0": "pod-template-hash",
		"spec.template.spec.terminationGracePeriodSeconds":                30,
		"spec.template.spec.automountServiceAccountToken":                 true,
		"spec.selector.matchLabels.app\\.kubernetes\\.io/instance":        "kube-devops",
	} {
		root, rest := deployment, path
		if after, ok := strings.CutPrefix(path, "container."); ok {
			root, rest = container, after
		}
		if got := lookup(root, rest); fmt.Sprint(got) != fmt.Sprint(want) { // as text: a number of YAML may be of several types
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	for _, mount := range optional[[]any](container, "volumeMounts") {
		if sub, has := mount.(map[string]any)["subPath"]; has {
			t.Errorf("a volume is mounted by subPath %v: it would never change", sub)
		}
	}
	limit := resource.MustParse(field[string](t, container, "resources", "limits", "memory"))
	if _, cpu := field[map[string]any](t, container, "resources", "limits")["cpu"]; cpu {
		t.Error("the CPU is limited: a throttled leader loses its Lease")
	}
	env := field[[]any](t, container, "env")[0].(map[string]any)
	soft := resource.MustParse(strings.TrimSuffix(env["value"].(string), "B"))
	if ratio := float64(soft.Value()) / float64(limit.Value()); env["name"] != "GOMEMLIMIT" || ratio < 0.85 || ratio > 0.95 {
		t.Errorf("%v=%v is %.0f %% of the memory limit %s, want about 90", env["name"], env["value"], 100*ratio, limit.String())
	}
}

// lookup follows a path of keys and indexes; `\.` is a dot in a key.
func lookup(value any, path string) any {
	for key := range strings.SplitSeq(strings.ReplaceAll(path, `\.`, "\x00"), ".") {
		key = strings.ReplaceAll(key, "\x00", ".")
		switch v := value.(type) {
		case map[string]any:
			value = v[key]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}

func field[T any](t *testing.T, object map[string]any, path ...string) T {
	t.Helper()
	value, found, err := unstructured.NestedFieldNoCopy(object, path...)
	typed, ok := value.(T)
	if err != nil || !found || !ok {
		t.Fatalf("%s is %v (%v), want a %T", strings.Join(path, "."), value, err, typed)
	}
	return typed
}

func optional[T any](object map[string]any, path ...string) T {
	value, _, _ := unstructured.NestedFieldNoCopy(object, path...)
	typed, _ := value.(T)
	return typed
}

// checkPermissions has every rule of every role in every setting: there are no others, and no wildcard.
func checkPermissions(t *testing.T, all []document) {
	t.Helper()
	known := []string{
		`{"apiGroups":[""],"resources":["pods"],"verbs":["list","watch"]}`,
		`{"apiGroups":["coordination.k8s.io"],"resources":["leases"],"verbs":["create"]}`,
		`{"apiGroups":["coordination.k8s.io"],"resourceNames":["kube-devops-leader"],"resources":["leases"],"verbs":["get","update"]}`,
		`{"apiGroups":["authentication.k8s.io"],"resources":["tokenreviews"],"verbs":["create"]}`,
		`{"apiGroups":["authorization.k8s.io"],"resources":["subjectaccessreviews"],"verbs":["create"]}`,
		`{"apiGroups":["discovery.k8s.io"],"resourceNames":["kube-devops-leader-ipv4","kube-devops-leader-ipv6"],"resources":["endpointslices"],"verbs":["get","update"]}`,
		`{"nonResourceURLs":["/metrics","/api/v1/report"],"verbs":["get"]}`,
	}
	for _, d := range all {
		for _, rule := range optional[[]any](d.Object, "rules") {
			text := asJSON(t, rule)
			if !slices.Contains(known, text) {
				t.Errorf("%s %s grants %s", d.GetKind(), d.GetName(), text)
			}
		}
	}
}

// TestMonitors has a monitor scrape the agents as they must be scraped: each pod, at the port and by the scheme that it has,
// and with its own label namespace. Without honorLabels all scores would be those of the agent's namespace.
func TestMonitors(t *testing.T) {
	for _, test := range []struct {
		name      string
		flags     []string
		kind      string
		endpoints string // path of the list
		selected  string // kind of the object whose labels the selector must match, and where these are
		labels    string
		scheme    string
	}{
		{"ServiceMonitor", []string{"--set", "serviceMonitor.enabled=true"},
			"ServiceMonitor", "spec.endpoints", "Service", "metadata.labels", "http"},
		{"ServiceMonitor, TLS", []string{"--set", "serviceMonitor.enabled=true,http.tls.secretName=tls"},
			"ServiceMonitor", "spec.endpoints", "Service", "metadata.labels", "https"},
		{"PodMonitor", []string{"--set", "podMonitor.enabled=true"},
			"PodMonitor", "spec.podMetricsEndpoints", "Deployment", "spec.template.metadata.labels", "http"},
		{"PodMonitor, TLS", []string{"--values", "testdata/values/podmonitor.yaml", "--set", "http.tls.secretName=tls,nameOverride=other"},
			"PodMonitor", "spec.podMetricsEndpoints", "Deployment", "spec.template.metadata.labels", "https"},
	} {
		t.Run(test.name, func(t *testing.T) {
			all := documents(t, render(t, test.flags...))
			monitor, selected := only(t, all, test.kind), only(t, all, test.selected)
			endpoints, _ := lookup(monitor, test.endpoints).([]any)
			if len(endpoints) != 1 {
				t.Fatalf("%d endpoints, want 1: %v", len(endpoints), endpoints)
			}
			for key, want := range map[string]any{"port": "http", "path": "/metrics", "scheme": test.scheme, "honorLabels": true} {
				if got := lookup(endpoints[0], key); got != want {
					t.Errorf("%s is %v, want %v", key, got, want)
				}
			}
			selector, _ := lookup(monitor, "spec.selector.matchLabels").(map[string]any)
			if len(selector) == 0 {
				t.Error("the selector takes everything")
			}
			for label, want := range selector {
				if got := field[map[string]any](t, selected, strings.Split(test.labels, ".")...)[label]; got != want {
					t.Errorf("the monitor looks for %s=%v, and the %s has %v", label, want, test.selected, got)
				}
			}
			// The port is named alike in the Service, in the pod, and here.
			pod := only(t, all, "Deployment")
			if port := lookup(pod, "spec.template.spec.containers.0.ports.0.name"); port != "http" {
				t.Errorf("the pod's port is %v", port)
			}
			if service := only(t, all, "Service"); lookup(service, "spec.ports.0.name") != "http" || lookup(service, "spec.ports.0.targetPort") != "http" {
				t.Errorf("the Service's ports are %v", lookup(service, "spec.ports"))
			}
		})
	}
}

// only is the one object of a kind.
func only(t *testing.T, all []document, kind string) map[string]any {
	t.Helper()
	of := slices.DeleteFunc(slices.Clone(all), func(d document) bool { return d.GetKind() != kind })
	if len(of) != 1 {
		t.Fatalf("%d objects of kind %s, want 1", len(of), kind)
	}
	return of[0].Object
}

// TestRefused checks the error messages for invalid values.
func TestRefused(t *testing.T) {
	for _, test := range []struct{ name, set, want string }{
		{"a name that is none", "replica=3", "additional properties 'replica' not allowed"},
		{"a name that is none, deeper", "http.prot=80", "additional properties 'prot' not allowed"},
		{"a word for a number", "replicas=two", "at '/replicas': got string, want integer"},
		{"a privileged port", "http.port=80", "at '/http/port'"},
		{"a duration that is none", "lease.duration=15", "at '/lease/duration'"},
		{"a duration of no whole seconds", "lease.duration=1500ms", "at '/lease/duration'"},
		{"a deadline as long as the Lease", "lease.renewDeadline=15s", "lease.duration 15s must be greater than lease.renewDeadline 15s"},
		{"a deadline and a try as long as the Lease", "lease.renewDeadline=14600ms", "must be greater than lease.renewDeadline 14600ms plus lease.retryPeriod 400ms"},
		{"a deadline in other units", "lease.renewDeadline=1m", "must be greater than lease.renewDeadline 1m"},
		{"a level that is none", "logLevel=loud", "at '/logLevel'"},
		{"a border as a share", "prometheusRule.criticalBelow=0.4", "at '/prometheusRule/criticalBelow'"},
		{"a variable twice", "extraEnv[0].name=A,extraEnv[1].name=A", "extraEnv has duplicate entries with name A"},
		{"one port for two listeners", "healthListen=8080", "healthListen must differ from http.port, got 8080"},
		{"a volume of the chart", "policy.existingConfigMap=x,extraVolumes[0].name=policy", "extraVolumes together with the volumes of the chart has duplicate entries with name policy"},
		{"a mount of the chart", "policy.existingConfigMap=x,extraVolumeMounts[0].mountPath=/etc/kube-devops", "has duplicate entries with mountPath /etc/kube-devops"},
		{"a flag that has a value", "extraArgs={--listen=:9090}", "extraArgs must not set --listen, which other objects depend on; set http.port"},
		{"a label that selects", "commonLabels.app\\.kubernetes\\.io/name=x", "commonLabels must not set app.kubernetes.io/name"},
		{"a label of pods that selects", "podLabels.app\\.kubernetes\\.io/instance=x", "podLabels must not set app.kubernetes.io/instance"},
		{"a monitor without its Service", "service.enabled=false,serviceMonitor.enabled=true", "serviceMonitor needs service.enabled"},
		{"a namespace twice", "namespaces={a,a}", "at '/namespaces'"},
		{"a namespace with a comma", "namespaces={a\\,b}", "at '/namespaces/0'"},
		{"a label that is none", "namespaceLabel=a-b", "at '/namespaceLabel'"},
		{"a label that has another meaning", "namespaceLabel=cluster", "at '/namespaceLabel'"},
		{"a digest that is none", "image.digest=latest", "at '/image/digest'"},
		{"two sources of the policy", "policy.existingConfigMap=x,policy.table=y", "policy.existingConfigMap cannot be combined with policy.table"},
		{"files beside no table", "policy.files.a\\.yaml=x", "policy.files needs policy.table"},
		{"files beside a ConfigMap of one's own", "policy.existingConfigMap=x,policy.files.a\\.yaml=x", "policy.existingConfigMap cannot be combined with policy.table, policy.files"},
		{"a file in the place of the table", "policy.table=x,policy.files.policy\\.yaml=x", "at '/policy/files"},
		{"a file in a folder", "policy.table=x,policy.files.a/b=x", "at '/policy/files"},
		{"tokens in the clear", "http.auth=true", "tokens must not be sent unencrypted"},
		{"audiences without authorization", "http.authAudiences={a}", "http.authAudiences requires http.auth"},
		{"an audience with a comma", "http.tls.secretName=tls,http.auth=true,http.authAudiences={a\\,b}", "at '/http/authAudiences/0'"},
		{"two monitors", "serviceMonitor.enabled=true,podMonitor.enabled=true", "every pod would be scraped twice"},
		{"a Service with a name that is none", "leaderService.name=a.b", "at '/leaderService/name'"},
		{"a Service by a flag", "extraArgs={--leader-service=a/b}", "set leaderService.enabled instead"},
		{"a page without a scheme", "externalURL=governance.example.com", "at '/externalURL'"},
		{"a template in an address", "externalURL=https://a/{{x}}", "at '/externalURL'"},
		{"no account", "serviceAccount.create=false", "serviceAccount.name is needed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := helm(t.Context(), t.TempDir(), "template", "kube-devops", chart, "--set", test.set)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("--set %s: error %v, want one with %q\n%s", test.set, err, test.want, out)
			}
		})
	}
}

// TestArgs has the flags that the settings become.
func TestArgs(t *testing.T) {
	lease := []any{
		"--listen=:8080", "--lease-namespace=default", "--lease-name=kube-devops-leader", "--lease-duration=15s",
		"--renew-deadline=10s", "--retry-period=400ms", "--log-level=info",
	}
	for _, test := range []struct {
		name  string
		flags []string
		want  []any
	}{
		{"nothing set", nil, append([]any{"agent", "--policy=default"}, lease...)},
		{"another table that ships", []string{"--set", "policy.name=recommended"}, append([]any{"agent", "--policy=recommended"}, lease...)},
		{"a policy and waivers", []string{"--values", "testdata/values/policy.yaml"},
			append([]any{"agent", "--policy=/etc/kube-devops/policy.yaml", "--waivers=/etc/kube-devops/waivers.yaml"}, lease...)},
		{"a ConfigMap of one's own", []string{"--set", "policy.existingConfigMap=ours,policy.tableKey=t.yaml"},
			append([]any{"agent", "--policy=/etc/kube-devops/t.yaml"}, lease...)},
		{"TLS, authorization and more", []string{"--set", "http.tls.secretName=tls,http.auth=true,http.authAudiences={a,b}", "--set", "extraArgs={--a=b}"},
			slices.Concat([]any{"agent", "--policy=default"}, lease, []any{
				"--tls-cert-file=/etc/kube-devops-tls/tls.crt", "--tls-private-key-file=/etc/kube-devops-tls/tls.key", "--metrics-auth", "--metrics-auth-audiences=a,b", "--a=b",
			})},
	} {
		t.Run(test.name, func(t *testing.T) {
			deployment := object(t, documents(t, render(t, test.flags...)), "Deployment", "kube-devops")
			if diff := cmp.Diff(test.want, lookup(deployment, "spec.template.spec.containers.0.args")); diff != "" {
				t.Errorf("args (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFlags has the agent accept each flag of every setting: the command parses all flags before it prints its help.
func TestFlags(t *testing.T) {
	flags := [][]string{{"--values", everything}}
	for _, setting := range settings {
		flags = append(flags, setting.flags)
	}
	for _, set := range flags {
		var args []string
		for _, arg := range lookup(only(t, documents(t, render(t, set...)), "Deployment"), "spec.template.spec.containers.0.args").([]any) {
			args = append(args, arg.(string))
		}
		if out, err := exec.CommandContext(t.Context(), agentBinary, append(args, "--help")...).CombinedOutput(); err != nil {
			t.Errorf("kube-devops %q: %v\n%s", args, err, out)
		}
	}
}

// TestPolicyText has a policy arrive in the ConfigMap as it was given, so that a line in a mistake is the author's.
func TestPolicyText(t *testing.T) {
	const file = "../testdata/policies/ours.yaml"
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	configMap := object(t, documents(t, render(t, "--set-file", "policy.table="+file)), "ConfigMap", "kube-devops-policy")
	if diff := cmp.Diff(string(want), lookup(configMap, `data.policy\.yaml`)); diff != "" {
		t.Errorf("policy.yaml (-given +ConfigMap):\n%s", diff)
	}
}

// TestPolicyFiles: a table of the chart extends the files beside it, as the agent finds them in the mounted ConfigMap.
func TestPolicyFiles(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const head = "apiVersion: kube-devops.io/v1\nkind: PolicyTable\n"
	table := write("mine.yaml", head+"metadata: {name: mine}\nextends: [default, ./base.yaml]\n")
	base := write("theirs.yaml", head+"metadata: {name: base}\nchecks: [{id: latest_tag, weight: 9}]\n")
	configMap := object(t, documents(t, render(t, "--set-file", "policy.table="+table, "--set-file", `policy.files.base\.yaml=`+base)), "ConfigMap", "kube-devops-policy")
	for key, from := range map[string]string{"policy.yaml": table, "base.yaml": base} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := lookup(configMap, "data."+strings.ReplaceAll(key, ".", `\.`)).(string)
		if diff := cmp.Diff(string(text), got); diff != "" {
			t.Errorf("%s (-given +ConfigMap):\n%s", key, diff)
		}
		write(key, got)
	}
	out, err := exec.CommandContext(t.Context(), agentBinary, "policy", "show", filepath.Join(folder, "policy.yaml")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "weight: 9") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestNames has two releases in one namespace, which share no object.
func TestNames(t *testing.T) {
	names := make(map[string]string)
	for _, release := range []string{"kube-devops", "second"} {
		out, err := helm(t.Context(), t.TempDir(), "template", release, chart, "--set-file", "policy.table=../testdata/policies/ours.yaml",
			"--set", "http.tls.secretName=tls,http.auth=true,networkPolicy.enabled=true,dashboard.enabled=true")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range kinds(documents(t, out)) {
			if other, taken := names[name]; taken {
				t.Errorf("%s is in release %s and in %s", name, other, release)
			}
			names[name] = release
		}
		if !strings.Contains(out, map[string]string{"kube-devops": "--lease-name=kube-devops-leader", "second": "--lease-name=second-kube-devops-leader"}[release]) {
			t.Errorf("release %s does not have a Lease of its own", release)
		}
	}
}

// TestOwn has what users bring of their own arrive beside what is there, and replace none of it.
func TestOwn(t *testing.T) {
	all := documents(t, render(t, "--values", "testdata/values/own.yaml"))
	for _, d := range all {
		if labels := d.GetLabels(); labels["cost-center"] != "42" || labels["app.kubernetes.io/part-of"] != "governance" {
			t.Errorf("%s %s has labels %v", d.GetKind(), d.GetName(), labels)
		}
	}
	deployment := only(t, all, "Deployment")
	want := map[string]any{
		"app.kubernetes.io/name": "kube-devops", "app.kubernetes.io/instance": "kube-devops", "app.kubernetes.io/part-of": "governance",
		"cost-center": "42", "team": "platform",
	}
	if diff := cmp.Diff(want, lookup(deployment, "spec.template.metadata.labels")); diff != "" {
		t.Errorf("labels of the pods (-want +got):\n%s", diff)
	}
	pod := lookup(deployment, "spec.template.spec")
	for path, want := range map[string]any{
		"containers.0.env.0.name":               "GOMEMLIMIT",
		"containers.0.env.1.name":               "HTTPS_PROXY",
		"containers.0.volumeMounts.0.name":      "tls",
		"containers.0.volumeMounts.1.mountPath": "/etc/ssl/certs",
		"volumes.0.name":                        "tls",
		"volumes.1.configMap.name":              "roots",
	} {
		if got := lookup(pod, path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
}

// TestLease has times that fit pass, in whatever units.
func TestLease(t *testing.T) {
	for _, set := range []string{"lease.duration=1m", "lease.duration=1m30s,lease.renewDeadline=1m,lease.retryPeriod=2s", "lease.renewDeadline=14599ms"} {
		render(t, "--set", set)
	}
}

// TestNotes checks that the notes after an installation name the next steps.
func TestNotes(t *testing.T) {
	for set, want := range map[string][]string{
		"replicas=2":                                  {"rollout status deployment/kube-devops", "get lease kube-devops-leader", "curl http://localhost:8080/metrics", "scrape annotations", "prometheusRule.enabled", "table default"},
		"http.tls.secretName=tls,http.auth=true":      {`curl -k -H "Authorization: Bearer`, "https://localhost:8080", "kube-devops-metrics-reader"},
		"serviceMonitor.enabled=true":                 {"created a ServiceMonitor"},
		"policy.existingConfigMap=ours":               {"The policy is in ConfigMap ours"},
		"scrapeAnnotations=false,podLabels.team=core": {"No scraping is configured"},
	} {
		out, err := helm(t.Context(), t.TempDir(), "install", "kube-devops", chart, "--dry-run=client", "--namespace", "kube-devops", "--set", set)
		if err != nil {
			t.Fatal(err)
		}
		_, notes, _ := strings.Cut(out, "NOTES:")
		for _, words := range want {
			if !strings.Contains(notes, words) {
				t.Errorf("with %s the notes lack %q:\n%s", set, words, notes)
			}
		}
	}
}

// ofHelm are labels of what Helm has installed, in a version that the manifests do not know: the image is put in by hand.
var ofHelm = regexp.MustCompile(`(?m)^ +(helm\.sh/chart|app\.kubernetes\.io/(managed-by|version)): .*\n`)

// TestManifests checks that deploy/manifests matches the rendered chart, with a file for each template. UPDATE_GOLDEN=1 writes them.
func TestManifests(t *testing.T) {
	want := make(map[string]string)
	for _, d := range documents(t, render(t, "--set", "namespace.create=true")) {
		d.text = ofHelm.ReplaceAllString(d.text, "")
		if text, more := want[d.template]; more {
			want[d.template] = text + "---\n" + d.text
		} else {
			want[d.template] = "# Rendered from chart/templates/" + d.template + ": change it there, then UPDATE_GOLDEN=1 go test .\n" + d.text
		}
	}
	const folder = "manifests"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	got := make(map[string]string)
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(folder, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[file.Name()] = string(text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("deploy/manifests is not what the chart renders; run: cd deploy && UPDATE_GOLDEN=1 go test . (-chart +manifests):\n%s", diff)
	}
}
