package dumptest

import (
	"fmt"
	"hash/fnv"
	"time"
)

// Workload describes the pods of one owner. Its zero values are the well-kept choice where there is one.
type Workload struct {
	Namespace string
	Name      string
	// Kind of the owner: Deployment, StatefulSet, DaemonSet, Job, or Node for a static pod. Empty: a bare pod.
	Kind string
	// Part is the app.kubernetes.io/part-of label.
	Part       string
	Init       []Container
	Containers []Container
	// Done makes the pod one that ran to its end: phase Succeeded.
	Done bool
	// Revision distinguishes the pod templates of the workload. Empty: the first.
	Revision string
	// Version is added to the resourceVersion of the pod: it grows with each change.
	Version int
	// Plain leaves out what large clusters add to every pod: affinity, injected annotations, a service
	// account's token.
	Plain bool
}

// Container describes one container of a [Workload].
type Container struct {
	Name, Image string
	// Liveness, Readiness and Startup say which probes it has.
	Liveness, Readiness, Startup bool
	// Sidecar makes an init container a native sidecar: restartPolicy Always.
	Sidecar bool
	// Env is the number of environment variables.
	Env int
	// Unlimited leaves out requests and limits.
	Unlimited bool
	// Privileged runs it as root with all capabilities.
	Privileged bool
	// Restarts is the restart count of its status.
	Restarts int
	// Waiting is the reason why it does not run, such as CrashLoopBackOff. Empty: it runs.
	Waiting string
	// Args are its arguments.
	Args []string
	// Port is the first port that it listens on. 0: none.
	Port int
}

// JSON is the pod that replica i of the workload is, indented, without a final newline.
func (w Workload) JSON(seed uint64, i int) []byte { return appendIndented(nil, w.object(seed, i), 0) }

// object is the whole pod.
func (w Workload) object(seed uint64, i int) object {
	p := w.replica(seed, i)
	return object{
		{"apiVersion", "v1"},
		{"kind", "Pod"},
		{"metadata", p.metadata()},
		{"spec", p.spec()},
		{"status", p.status()},
	}
}

// replica is one pod of a workload, and what its parts have in common.
type replica struct {
	Workload
	seed    uint64
	i       int
	name    string
	owner   string // the name of the object in ownerReferences
	hash    string // of the pod template, shared by the replicas
	node    int
	random  uint64 // drawn from the seed, the workload and i
	uid     string
	created time.Time
}

// recorded is the moment of the recording. It is fixed: the same seed gives the same bytes on any day.
var recorded = time.Date(2026, time.September, 14, 9, 30, 0, 0, time.UTC)

// nodes is the number of nodes that the pods run on.
const nodes = 24

func (w Workload) replica(seed uint64, i int) replica {
	id := text(w.Namespace + "/" + w.Name)
	r := mix(mix(seed, id), uint64(i))
	p := replica{
		Workload: w, seed: seed, i: i,
		hash:    suffix(mix(mix(seed, id), text(w.Revision)), 10),
		random:  r,
		node:    int(r % nodes),
		uid:     uid(r, uint64(i)),
		created: recorded.Add(-time.Duration(3600+r%2_400_000) * time.Second),
	}
	end := unique(mix(seed, id)%space + uint64(i))
	switch w.Kind {
	case "Deployment":
		p.owner = w.Name + "-" + p.hash
		p.name = p.owner + "-" + end
	case "StatefulSet":
		p.owner = w.Name
		p.name = fmt.Sprintf("%s-%d", w.Name, i)
	case "Job":
		p.owner = fmt.Sprintf("%s-%d", w.Name, 29_620_000+i)
		p.name = p.owner + "-" + end
	case "Node":
		p.owner = p.nodeName()
		p.name = fmt.Sprintf("%s-%s", w.Name, nodeName(i))
	case "DaemonSet":
		p.owner = w.Name
		p.name = w.Name + "-" + end
	default:
		p.name = w.Name
	}
	return p
}

func (p replica) nodeName() string {
	if p.Kind == "Node" {
		return nodeName(p.i)
	}
	return nodeName(p.node)
}

func nodeName(i int) string { return fmt.Sprintf("node-%02d.cluster.example.com", i) }

func (p replica) hostIP() string { return fmt.Sprintf("10.20.%d.%d", p.node/8, 10+p.node%8) }

func (p replica) podIP() string {
	return fmt.Sprintf("10.%d.%d.%d", 64+p.random>>16&63, p.random>>8&255, p.random&255)
}

// at is a moment some seconds after the pod was created, as Kubernetes writes times.
func (p replica) at(seconds int) string {
	return p.created.Add(time.Duration(seconds) * time.Second).Format(time.RFC3339)
}

func (p replica) metadata() object {
	labels := object{
		{"app.kubernetes.io/instance", p.Name},
		{"app.kubernetes.io/managed-by", "Helm"},
		{"app.kubernetes.io/name", p.Name},
		{"app.kubernetes.io/part-of", p.Part},
	}
	annotations := object{}
	meta := object{
		{"creationTimestamp", p.at(0)},
		{"name", p.name},
		{"namespace", p.Namespace},
		{"resourceVersion", fmt.Sprint(81_000_000 + p.i*37 + p.Version)},
		{"uid", p.uid},
	}
	switch p.Kind {
	case "Deployment":
		labels.set("pod-template-hash", p.hash)
	case "StatefulSet":
		labels.set("apps.kubernetes.io/pod-index", fmt.Sprint(p.i))
		labels.set("controller-revision-hash", p.owner+"-"+p.hash)
		labels.set("statefulset.kubernetes.io/pod-name", p.name)
	case "DaemonSet":
		labels.set("controller-revision-hash", p.hash)
		labels.set("pod-template-generation", "3")
	case "Job":
		labels.set("batch.kubernetes.io/job-name", p.owner)
		labels.set("job-name", p.owner)
	case "Node":
		annotations.set("kubernetes.io/config.hash", p.hash)
		annotations.set("kubernetes.io/config.seen", p.at(0))
		annotations.set("kubernetes.io/config.source", "file")
	}
	if !p.Plain {
		annotations.set("checksum/config", digest(p.seed, p.Name))
		annotations.set("kubectl.kubernetes.io/default-container", p.Containers[0].Name)
		annotations.set("prometheus.io/port", "9102")
		annotations.set("prometheus.io/scrape", "true")
		labels.set("app.kubernetes.io/version", "2026.9.1")
		labels.set("helm.sh/chart", p.Name+"-4.12.0")
		labels.set("team", p.Part)
	}
	if len(annotations) > 0 {
		meta.set("annotations", annotations)
	}
	meta.set("labels", labels)
	if p.Kind == "Deployment" || p.Kind == "Job" {
		meta.set("generateName", p.owner+"-")
	}
	if p.Kind != "" {
		meta.set("ownerReferences", list{p.ownerReference()})
	}
	return meta
}

func (p replica) ownerReference() object {
	version, kind := "apps/v1", p.Kind
	switch p.Kind {
	case "Deployment":
		kind = "ReplicaSet"
	case "Job":
		version = "batch/v1"
	case "Node":
		version = "v1"
	}
	ref := object{
		{"apiVersion", version},
		{"controller", true},
		{"kind", kind},
		{"name", p.owner},
		{"uid", uid(mix(p.seed, text(p.owner)), 0)},
	}
	if p.Kind != "Node" {
		ref.set("blockOwnerDeletion", true)
	}
	return ref
}

// mix is a random number drawn from two: the finalizer of SplitMix64 over both. It needs no state, so that pod i is
// the same whatever was made before it.
func mix(a, b uint64) uint64 {
	z := a*0xd1342543de82ef95 + b*0x9e3779b97f4a7c15 + 0x2545f4914f6cdd1d
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func text(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // a hash takes any bytes
	return h.Sum64()
}

// letters are those of Kubernetes' generated names.
const letters = "bcdfghjklmnpqrstvwxz2456789"

func suffix(r uint64, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[r%uint64(len(letters))]
		r /= uint64(len(letters))
		if r == 0 {
			r = mix(uint64(i), 1)
		}
	}
	return string(b)
}

// space is the number of ends that unique has.
const space = 27 * 27 * 27 * 27 * 27

// unique is the five-letter end of a generated name: another one for each of space numbers in a row, as the factor has no
// divisor in common with space.
func unique(n uint64) string {
	b := make([]byte, 5)
	n = n % space * 8_765_431 % space
	for j := range b {
		b[j] = letters[n%27]
		n /= 27
	}
	return string(b)
}

func uid(a, b uint64) string {
	h, l := mix(a, b), mix(b, a+1)
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", h>>32, h>>16&0xffff, h&0xfff, l>>48&0xfff, l&0xffffffffffff)
}

func digest(seed uint64, s string) string {
	n := text(s)
	return fmt.Sprintf("%016x%016x%016x%016x", mix(seed, n), mix(seed, n+1), mix(seed, n+2), mix(seed, n+3))
}
