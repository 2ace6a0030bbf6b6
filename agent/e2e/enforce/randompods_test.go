package enforce_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
)

type object = map[string]any

// randomPods creates pods from parts of the test pods of the built-in tables, which have passing and failing pods for each check. The API server
// refuses some of the combinations.
type randomPods struct {
	*rand.Rand
	fixtures    []object // pods
	containers  []object
	volumes     []any
	ofPod       map[string][]any // values of the fields of a pod's spec
	ofContainer map[string][]any // and of a container
	annotations []any
	labels      []any
	owners      []any
	contexts    map[string][]any // values of the fields of a security context, of pods and of containers
}

// newRandomPods reads testdata/checks.
func newRandomPods(seed uint64) (*randomPods, error) {
	r := &randomPods{
		Rand:  rand.New(rand.NewPCG(seed, 0)),
		ofPod: make(map[string][]any), ofContainer: make(map[string][]any), contexts: make(map[string][]any),
	}
	root, err := binaries.Root()
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(filepath.Join(root, "testdata", "checks"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".json" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var pod object
		if err := json.Unmarshal(text, &pod); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		r.learn(pod)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the pods of the checks: %w", err)
	}
	for i, image := range oddImages {
		r.ofContainer["image"] = append(r.ofContainer["image"], image, oddImages[i])
	}
	return r, nil
}

// Image references that are barely valid or barely invalid. The API server accepts any text.
var oddImages = []string{
	"nginx", "nginx:latest", "eu.registry.example.com/shop/web:1.29", "mirror.example.com/registry.example.com/web:latest", "nginx:1.29", "nginx:", "nginx:Latest", "nginx:latest2", ":latest", "nginx@sha256:latest", "localhost/nginx:latest",
	"registry.example.com:5000/shop/web", "registry.example.com:5000/shop/web:latest", "docker.io/library/nginx:1", "docker.io/nginx:latest",
	"index.docker.io/library/nginx", "ghcr.io/org/app:v1", "ghcr.io/organisation/app:v1", "UPPER/case:latest", "a//b:latest", "nginx:latest@sha256:" + digest,
	"nginx@sha256:" + digest, "näme:latest", "nginx:" + strings.Repeat("x", 128), "nginx:" + strings.Repeat("x", 129), strings.Repeat("a", 255) + ":latest",
	strings.Repeat("a", 256) + ":latest", "registry.example.com/" + strings.Repeat("b/", 130) + "c:latest", "k8s.gcr.io/pause:3.9", "a b:latest", "nginx:la\ntest",
}

var digest = strings.Repeat("0123456789abcdef", 4)

// learn adds the parts of a pod to those from which pods are created.
func (r *randomPods) learn(pod object) {
	spec, _ := pod["spec"].(object)
	metadata, _ := pod["metadata"].(object)
	if spec == nil || metadata == nil {
		return
	}
	r.fixtures = append(r.fixtures, pod)
	for _, key := range slices.Sorted(maps.Keys(spec)) {
		r.ofPod[key] = append(r.ofPod[key], spec[key])
	}
	for _, key := range containerLists {
		for _, c := range list(spec[key]) {
			if c, ok := c.(object); ok {
				r.containers = append(r.containers, c)
				for _, field := range slices.Sorted(maps.Keys(c)) {
					r.ofContainer[field] = append(r.ofContainer[field], c[field])
				}
				r.learnContext(c)
			}
		}
	}
	r.learnContext(spec)
	r.volumes = append(r.volumes, list(spec["volumes"])...)
	for key, to := range map[string]*[]any{"labels": &r.labels, "annotations": &r.annotations, "ownerReferences": &r.owners} {
		if value := metadata[key]; value != nil {
			*to = append(*to, value)
		}
	}
}

func (r *randomPods) learnContext(of object) {
	context, _ := of["securityContext"].(object)
	for _, key := range slices.Sorted(maps.Keys(context)) {
		r.contexts[key] = append(r.contexts[key], context[key])
	}
}

var containerLists = []string{"containers", "initContainers", "ephemeralContainers"}

func list(value any) []any {
	l, _ := value.([]any)
	return l
}

func (r *randomPods) often(percent int) bool { return r.IntN(100) < percent }

func pick[T any](r *randomPods, from []T) T { return from[r.IntN(len(from))] }

// pod creates a pod with a name and a namespace.
func (r *randomPods) pod(namespace, name string) object {
	pod := r.anyPod()
	metadata := pod["metadata"].(object)
	metadata["name"], metadata["namespace"] = name, namespace
	return pod
}

// anyPod creates a pod without a name.
func (r *randomPods) anyPod() object {
	base := clone(pick(r, r.fixtures)).(object)
	metadata := object{}
	for _, key := range []string{"labels", "annotations", "ownerReferences"} {
		if value := base["metadata"].(object)[key]; value != nil {
			metadata[key] = value
		}
	}
	for _, of := range []struct {
		key  string
		from []any
	}{{"labels", r.labels}, {"annotations", r.annotations}, {"ownerReferences", r.owners}} {
		if r.often(25) {
			metadata[of.key] = clone(pick(r, of.from))
		}
	}
	spec, _ := base["spec"].(object)
	if r.often(70) {
		r.changeSpec(spec)
	}
	pod := object{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
	if r.often(60) {
		r.addFields(pod)
	}
	repair(pod)
	return pod
}

func (r *randomPods) changeSpec(spec object) {
	keys := slices.Sorted(maps.Keys(r.ofPod))
	for range r.IntN(4) {
		key := pick(r, keys)
		if slices.Contains(containerLists, key) {
			continue
		}
		if r.often(15) {
			delete(spec, key)
		} else {
			spec[key] = clone(pick(r, r.ofPod[key]))
		}
	}
	if r.often(40) {
		r.changeContext(spec)
	}
	for range r.IntN(3) {
		spec["volumes"] = append(list(spec["volumes"]), clone(pick(r, r.volumes)))
	}
	for _, key := range []string{"containers", "containers", "initContainers"} {
		if r.often(25) {
			spec[key] = append(list(spec[key]), clone(pick(r, r.containers)))
		}
	}
	fields := slices.Sorted(maps.Keys(r.ofContainer))
	for _, key := range containerLists {
		for _, c := range list(spec[key]) {
			c, ok := c.(object)
			if !ok {
				continue
			}
			if r.often(40) {
				c["image"] = pick(r, r.ofContainer["image"])
			}
			for range r.IntN(4) {
				if field := pick(r, fields); r.often(20) {
					delete(c, field)
				} else {
					c[field] = clone(pick(r, r.ofContainer[field]))
				}
			}
			if r.often(40) {
				r.changeContext(c)
			}
		}
	}
}

func (r *randomPods) changeContext(of object) {
	context, ok := of["securityContext"].(object)
	if !ok {
		context = object{}
		of["securityContext"] = context
	}
	key := pick(r, slices.Sorted(maps.Keys(r.contexts)))
	if r.often(15) {
		delete(context, key)
	} else {
		context[key] = clone(pick(r, r.contexts[key]))
	}
}

// The fields of security contexts that only pods, or only containers, have.
var (
	contextsOfPods       = []string{"fsGroup", "fsGroupChangePolicy", "supplementalGroups", "supplementalGroupsPolicy", "sysctls", "seLinuxChangePolicy"}
	contextsOfContainers = []string{"allowPrivilegeEscalation", "capabilities", "privileged", "procMount", "readOnlyRootFilesystem"}
)

// addFields sets fields whose values depend on each other. Parts of different pods rarely fit together.
func (r *randomPods) addFields(pod object) {
	metadata, spec := pod["metadata"].(object), pod["spec"].(object)
	if r.often(30) {
		metadata["labels"] = object{"app": pick(r, []string{"web", "shop", "shop-web"}), "app.kubernetes.io/name": pick(r, []string{"web", "shop-web", "shop"})}
	}
	if r.often(15) {
		day := func(days int) string { return time.Now().AddDate(0, 0, days).Format(time.DateOnly) }
		metadata["annotations"] = merged(asObject(metadata["annotations"]), object{"kube-devops.io/waive": pick(r, []string{
			"missing_liveness expires " + day(30) + ": a test", "missing_liveness, missing_readiness expires " + day(80) + ": a test",
			"missing_readiness expires " + day(100) + ": too far away", "missing_liveness expires " + day(-1) + ": expired",
			"latest_tag expires " + day(30) + ": another check", "missing_liveness expires " + day(30) + ": ", "nonsense",
			"missing_liveness expires " + day(30) + ": a test\nmissing_readiness expires " + day(40) + ": a test",
		})})
	}
	if r.often(15) {
		spec["priorityClassName"] = priorityClass
	}
	if r.often(5) {
		spec["os"], spec["hostNetwork"] = object{"name": "windows"}, true
		spec["securityContext"] = object{"windowsOptions": object{"hostProcess": true}}
		for _, key := range containerLists[:2] {
			for _, c := range list(spec[key]) {
				remove(c, []string{"securityContext"})
			}
		}
	}
	if r.often(20) {
		volume := fmt.Sprintf("data-%d", r.IntN(9))
		spec["volumes"] = append(list(spec["volumes"]), object{"name": volume, "emptyDir": object{}})
		for _, c := range list(spec["containers"]) {
			c.(object)["volumeMounts"] = []any{object{"name": volume, "mountPath": "/data", "readOnly": r.often(50)}}
		}
	}
	if r.often(20) {
		spec["securityContext"] = merged(asObject(spec["securityContext"]), object{"runAsUser": pick(r, []int{0, 1000, 20000})})
	}
	for _, key := range containerLists[:2] {
		for _, c := range list(spec[key]) {
			r.addContainerFields(c.(object))
		}
	}
}

func (r *randomPods) addContainerFields(c object) {
	if r.often(30) {
		c["resources"] = r.resources()
	}
	if r.often(20) {
		for _, probe := range []string{"livenessProbe", "readinessProbe"} {
			c[probe] = object{
				"tcpSocket": object{"port": pick(r, []any{"http", 8080, 80})}, "timeoutSeconds": 1 + r.IntN(20), "periodSeconds": 5 + r.IntN(10),
				"initialDelaySeconds": r.IntN(40),
			}
		}
	}
	if r.often(20) {
		c["securityContext"] = merged(asObject(c["securityContext"]), object{"runAsUser": pick(r, []int{0, 1000, 20000})})
	}
	if r.often(15) {
		c["image"] = fmt.Sprint(c["name"], "-app/main:1.29")
	}
	if r.often(15) {
		c["env"] = []any{
			object{"name": pick(r, []string{"LEVEL", "DB_PASSWORD", "token"}), "value": "x"},
			object{"name": "KEY", "valueFrom": object{"secretKeyRef": object{"name": "s", "key": "k"}}},
		}[r.IntN(2):]
	}
	if r.often(20) {
		c["ports"] = []any{
			object{"containerPort": pick(r, []int{80, 443, 8080, 9090, 22}), "protocol": pick(r, []string{"TCP", "UDP", "SCTP"})},
			object{"containerPort": 9443, "name": "https"},
		}[:1+r.IntN(2)]
	}
}

// resources returns limits, and requests that do not exceed them, in several notations.
func (r *randomPods) resources() object {
	cpus, memories := []any{"100m", "0.25", "1", "1000m", 2, "3"}, []any{"64Mi", "128M", "256Mi", "1Gi", "1024Mi", "3e9"}
	resources := object{}
	cpu, memory := r.IntN(len(cpus)), r.IntN(len(memories))
	if r.often(80) {
		resources["requests"] = object{"cpu": cpus[cpu], "memory": memories[memory]}
	}
	if r.often(80) {
		resources["limits"] = object{"cpu": cpus[cpu+r.IntN(len(cpus)-cpu)], "memory": memories[memory+r.IntN(len(memories)-memory)]}
	}
	return resources
}

// repair removes the parts that the API server would refuse for reasons that no check covers: duplicate names, and references to objects that do
// not exist.
func repair(pod object) {
	metadata, spec := pod["metadata"].(object), pod["spec"].(object)
	for i, owner := range list(metadata["ownerReferences"]) {
		if owner, ok := owner.(object); ok {
			owner["uid"] = fmt.Sprintf("0d3a8f0e-6a7e-4c5c-9f52-%012d", i)
			owner["apiVersion"] = cmp.Or(fmt.Sprint(cmp.Or(owner["apiVersion"], any("apps/v1"))), "apps/v1")
			owner["name"] = cmp.Or(owner["name"], any("web"))
		}
	}
	for _, key := range []string{"ephemeralContainers", "priority", "priorityClassName", "runtimeClassName", "overhead", "schedulingGates", "resourceClaims"} {
		if key != "priorityClassName" || spec[key] != priorityClass {
			delete(spec, key)
		}
	}
	remove(spec["securityContext"], contextsOfContainers)
	if annotations := asObject(metadata["annotations"]); annotations["kubernetes.io/config.mirror"] != nil {
		spec["nodeName"] = "node-1"
	}
	volumes := unique(spec["volumes"], "volume")
	spec["volumes"] = volumes
	names := make(map[string]bool)
	for _, v := range volumes {
		names[v.(object)["name"].(string)] = true
	}
	if len(list(spec["containers"])) == 0 {
		spec["containers"] = []any{object{"image": "nginx:1.29"}}
	}
	ports := make(map[string]bool)
	taken := make(map[string]bool)
	for _, key := range containerLists[:2] {
		for i, c := range list(spec[key]) {
			c := c.(object)
			name, _ := c["name"].(string)
			for n := 0; name == "" || taken[name]; n++ {
				name = fmt.Sprintf("%s%d-%d", key[:1], i, n)
			}
			c["name"], taken[name] = name, true
			c["image"] = cmp.Or(c["image"], any("nginx:1.29"))
			remove(c["securityContext"], contextsOfPods)
			repairPorts(c, spec["hostNetwork"] == true, ports)
			c["volumeMounts"] = slices.DeleteFunc(list(c["volumeMounts"]), func(m any) bool { return !names[fmt.Sprint(m.(object)["name"])] })
			for _, target := range []string{"targetContainerName", "resizePolicy", "volumeDevices", "restartPolicyRules"} {
				delete(c, target)
			}
			switch {
			case key == "containers":
				delete(c, "restartPolicy")
			case c["restartPolicy"] != "Always":
				remove(c, []string{"restartPolicy", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"})
			}
		}
	}
}

// repairPorts removes ports with a duplicate name or host port.
func repairPorts(container object, hostNetwork bool, taken map[string]bool) {
	var kept []any
	names := make(map[any]bool)
	for _, port := range list(container["ports"]) {
		port, ok := port.(object)
		if !ok || port["containerPort"] == nil || port["name"] != nil && names[port["name"]] {
			continue
		}
		if hostNetwork && port["hostPort"] != nil {
			port["hostPort"] = port["containerPort"]
		}
		if host := port["hostPort"]; host != nil {
			key := fmt.Sprint(host, port["protocol"], port["hostIP"])
			if taken[key] {
				continue
			}
			taken[key] = true
		}
		if port["name"] != nil {
			names[port["name"]] = true
		}
		kept = append(kept, port)
	}
	container["ports"] = kept
}

func remove(from any, keys []string) {
	if from, ok := from.(object); ok {
		for _, key := range keys {
			delete(from, key)
		}
	}
}

// unique gives each object of the list a unique name.
func unique(of any, prefix string) []any {
	taken := make(map[any]bool)
	var kept []any
	for i, entry := range list(of) {
		entry, ok := entry.(object)
		if !ok {
			continue
		}
		if name, ok := entry["name"].(string); !ok || taken[name] || name == "" {
			entry["name"] = fmt.Sprintf("%s-%d", prefix, i)
		}
		taken[entry["name"]] = true
		kept = append(kept, entry)
	}
	return kept
}

// clone copies a JSON value.
func clone(value any) any {
	switch value := value.(type) {
	case object:
		copied := make(object, len(value))
		for key, v := range value {
			copied[key] = clone(v)
		}
		return copied
	case []any:
		copied := make([]any, len(value))
		for i, v := range value {
			copied[i] = clone(v)
		}
		return copied
	}
	return value
}

// A workloadKind is a kind with a pod template that the API server evaluates.
type workloadKind struct{ kind, version, resource string }

// workloadKinds are the kinds of --kinds workloads.
var workloadKinds = []workloadKind{
	{"Deployment", "apps/v1", "deployments"}, {"StatefulSet", "apps/v1", "statefulsets"}, {"DaemonSet", "apps/v1", "daemonsets"},
	{"ReplicaSet", "apps/v1", "replicasets"}, {"ReplicationController", "v1", "replicationcontrollers"}, {"Job", "batch/v1", "jobs"},
	{"CronJob", "batch/v1", "cronjobs"},
}

// workload creates an object with a pod template.
func (r *randomPods) workload(namespace, name string) object {
	return workloadOf(pick(r, workloadKinds).kind, r.pod(namespace, name))
}

// workloadOf creates an object of a kind with the pod as its template, and with the pod's name and namespace.
func workloadOf(kind string, pod object) object {
	pod = clone(pod).(object)
	metadata, podSpec := pod["metadata"].(object), pod["spec"].(object)
	template := object{"metadata": metadata, "spec": podSpec}
	own := object{"name": metadata["name"], "namespace": metadata["namespace"]}
	remove(metadata, []string{"name", "namespace", "ownerReferences"})
	labels, ok := metadata["labels"].(object)
	if !ok {
		labels = object{}
		metadata["labels"] = labels
	}
	for key, value := range labels {
		if _, ok := value.(string); !ok {
			delete(labels, key)
		}
	}
	labels["e2e"] = "match"
	match := object{"e2e": "match"}
	spec := object{"template": template, "selector": object{"matchLabels": match}}
	podSpec["restartPolicy"] = "Always"
	i := slices.IndexFunc(workloadKinds, func(k workloadKind) bool { return k.kind == kind })
	switch kind {
	case "ReplicationController":
		spec["selector"] = match
	case "StatefulSet":
		spec["serviceName"] = "web"
	case "Job", "CronJob":
		delete(spec, "selector")
		podSpec["restartPolicy"] = "Never"
	}
	if kind == "CronJob" {
		spec = object{"schedule": "0 0 * * *", "jobTemplate": object{"spec": spec}}
	}
	return object{"apiVersion": workloadKinds[i].version, "kind": kind, "metadata": own, "spec": spec}
}

// collection returns the API path for creating the object in its namespace.
func collection(o object) string {
	version, resource := o["apiVersion"].(string), "pods"
	for _, k := range workloadKinds {
		if k.kind == o["kind"] {
			resource = k.resource
		}
	}
	prefix := "/apis/"
	if version == "v1" {
		prefix = "/api/"
	}
	return prefix + version + "/namespaces/" + o["metadata"].(object)["namespace"].(string) + "/" + resource
}
