package policies_test

import (
	"math/rand/v2"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// The values that the Pod Security Standards distinguish, and values near to them. A text that is not here is made by nearly.
var (
	capabilities = []string{"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
		"SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "ALL", "NET_RAW", "NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE", "CAP_CHOWN", "all", ""}
	sysctls = []string{"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
		"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
		"net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem",
		"net.ipv4.tcp_wmem", "net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat", "kernel.msgmax", "net.core.somaxconn",
		"net/ipv4/tcp_syncookies", ""}
	profileTypes     = []string{"RuntimeDefault", "Localhost", "Unconfined", "runtime/default", ""}
	annotationValues = []string{"", "runtime/default", "localhost/app", "localhost/", "localhost", "unconfined", "docker/default"}
	seLinuxTypes     = []string{"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t", "spc_t"}
	hosts            = []string{"", "127.0.0.1", "node.example.com", "\n"}
	containerNames   = []string{"web", "proxy", "<&>", "näme", `a"b`, ""}
)

// pssPods makes random pods: some are random in every field that a check of the Pod Security Standards reads, others are a known pod
// with a few fields changed.
type pssPods struct {
	*rand.Rand
	known []*corev1.Pod
}

func (r pssPods) pod() *corev1.Pod {
	if r.IntN(4) == 0 {
		return r.fromScratch()
	}
	pod := r.known[r.IntN(len(r.known))].DeepCopy()
	for range 1 + r.IntN(3) {
		r.change(pod)
	}
	return pod
}

// fromScratch makes up to 60 changes to an empty pod.
func (r pssPods) fromScratch() *corev1.Pod {
	pod := &corev1.Pod{}
	for range 1 + r.IntN(2) {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: pick(r, containerNames)})
	}
	r.sometimes(func() { pod.Spec.InitContainers = []corev1.Container{{Name: pick(r, containerNames)}} })
	r.sometimes(func() { pod.Spec.EphemeralContainers = make([]corev1.EphemeralContainer, 1) })
	for range r.IntN(60) {
		r.change(pod)
	}
	return pod
}

func (r pssPods) change(pod *corev1.Pod) {
	if r.IntN(2) == 0 {
		podChanges[r.IntN(len(podChanges))](r, pod)
		return
	}
	if containers := containersOf(pod); len(containers) > 0 {
		containerChanges[r.IntN(len(containerChanges))](r, containers[r.IntN(len(containers))])
	}
}

// containersOf returns the containers of all three kinds.
func containersOf(pod *corev1.Pod) (all []*corev1.Container) {
	for i := range pod.Spec.InitContainers {
		all = append(all, &pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		all = append(all, &pod.Spec.Containers[i])
	}
	for i := range pod.Spec.EphemeralContainers {
		all = append(all, (*corev1.Container)(&pod.Spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
	return all
}

// podChanges set one field of a pod each.
var podChanges = []func(pssPods, *corev1.Pod){
	func(r pssPods, pod *corev1.Pod) { pod.Spec.HostNetwork = r.bool() },
	func(r pssPods, pod *corev1.Pod) { pod.Spec.HostPID = r.bool() },
	func(r pssPods, pod *corev1.Pod) { pod.Spec.HostIPC = r.bool() },
	func(r pssPods, pod *corev1.Pod) { pod.Spec.HostUsers = r.boolOrNil() },
	func(r pssPods, pod *corev1.Pod) {
		pod.Spec.OS = &corev1.PodOS{Name: pick(r, []corev1.OSName{corev1.Linux, corev1.Windows, corev1.Windows, "Windows", ""})}
	},
	func(_ pssPods, pod *corev1.Pod) { pod.Spec.OS = nil },
	func(_ pssPods, pod *corev1.Pod) { pod.Spec.SecurityContext = nil },
	func(r pssPods, pod *corev1.Pod) { contextOf(pod).RunAsUser = r.user() },
	func(r pssPods, pod *corev1.Pod) { contextOf(pod).RunAsNonRoot = r.boolOrNil() },
	func(r pssPods, pod *corev1.Pod) { contextOf(pod).SeccompProfile = r.seccomp() },
	func(r pssPods, pod *corev1.Pod) { contextOf(pod).AppArmorProfile = r.appArmor() },
	func(r pssPods, pod *corev1.Pod) { contextOf(pod).SELinuxOptions = r.seLinux() },
	func(r pssPods, pod *corev1.Pod) { contextOf(pod).WindowsOptions = r.windows() },
	func(r pssPods, pod *corev1.Pod) {
		contextOf(pod).Sysctls = nil
		for range r.IntN(3) {
			contextOf(pod).Sysctls = append(contextOf(pod).Sysctls, corev1.Sysctl{Name: r.nearly(pick(r, sysctls)), Value: "1"})
		}
	},
	pssPods.override,
	pssPods.override,
	pssPods.override,
	func(r pssPods, pod *corev1.Pod) { r.annotate(pod) },
	func(r pssPods, pod *corev1.Pod) {
		pod.Spec.Volumes = nil
		for range r.IntN(3) {
			pod.Spec.Volumes = append(pod.Spec.Volumes, r.volume())
		}
	},
	func(r pssPods, pod *corev1.Pod) {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: pick(r, containerNames)})
	},
	func(r pssPods, pod *corev1.Pod) {
		common := corev1.EphemeralContainerCommon{Name: pick(r, containerNames)}
		pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: common})
	},
}

// override sets one of the fields that a pod and its containers have, in the pod to one value and in all its containers to another.
func (r pssPods) override(pod *corev1.Pod) {
	whole, own := contextOf(pod), new(corev1.SecurityContext)
	var set func(*corev1.SecurityContext)
	switch r.IntN(6) {
	case 0:
		whole.RunAsNonRoot, own.RunAsNonRoot = r.boolOrNil(), r.boolOrNil()
		set = func(c *corev1.SecurityContext) { c.RunAsNonRoot = own.RunAsNonRoot }
	case 1:
		whole.RunAsUser, own.RunAsUser = r.user(), r.user()
		set = func(c *corev1.SecurityContext) { c.RunAsUser = own.RunAsUser }
	case 2:
		whole.SeccompProfile, own.SeccompProfile = r.seccomp(), r.seccomp()
		set = func(c *corev1.SecurityContext) { c.SeccompProfile = own.SeccompProfile }
	case 3:
		whole.AppArmorProfile, own.AppArmorProfile = r.appArmor(), r.appArmor()
		set = func(c *corev1.SecurityContext) { c.AppArmorProfile = own.AppArmorProfile }
	case 4:
		whole.SELinuxOptions, own.SELinuxOptions = r.seLinux(), r.seLinux()
		set = func(c *corev1.SecurityContext) { c.SELinuxOptions = own.SELinuxOptions }
	default:
		whole.WindowsOptions, own.WindowsOptions = r.windows(), r.windows()
		set = func(c *corev1.SecurityContext) { c.WindowsOptions = own.WindowsOptions }
	}
	for _, container := range containersOf(pod) {
		set(ownContext(container))
	}
}

func contextOf(pod *corev1.Pod) *corev1.PodSecurityContext {
	if pod.Spec.SecurityContext == nil {
		pod.Spec.SecurityContext = new(corev1.PodSecurityContext)
	}
	return pod.Spec.SecurityContext
}

// containerChanges set one field of a container each.
var containerChanges = []func(pssPods, *corev1.Container){
	func(r pssPods, c *corev1.Container) { c.Name = pick(r, containerNames) },
	func(_ pssPods, c *corev1.Container) { c.SecurityContext = nil },
	func(r pssPods, c *corev1.Container) { ownContext(c).Privileged = r.boolOrNil() },
	func(r pssPods, c *corev1.Container) { ownContext(c).AllowPrivilegeEscalation = r.boolOrNil() },
	func(r pssPods, c *corev1.Container) { ownContext(c).RunAsUser = r.user() },
	func(r pssPods, c *corev1.Container) { ownContext(c).RunAsNonRoot = r.boolOrNil() },
	func(r pssPods, c *corev1.Container) { ownContext(c).SeccompProfile = r.seccomp() },
	func(r pssPods, c *corev1.Container) { ownContext(c).AppArmorProfile = r.appArmor() },
	func(r pssPods, c *corev1.Container) { ownContext(c).SELinuxOptions = r.seLinux() },
	func(r pssPods, c *corev1.Container) { ownContext(c).WindowsOptions = r.windows() },
	func(_ pssPods, c *corev1.Container) { ownContext(c).ProcMount = nil },
	func(r pssPods, c *corev1.Container) {
		ownContext(c).ProcMount = new(pick(r, []corev1.ProcMountType{corev1.DefaultProcMount, corev1.UnmaskedProcMount, "default", ""}))
	},
	func(_ pssPods, c *corev1.Container) { ownContext(c).Capabilities = nil },
	func(r pssPods, c *corev1.Container) {
		ownContext(c).Capabilities = &corev1.Capabilities{Add: r.capabilities()}
	},
	func(r pssPods, c *corev1.Container) {
		ownContext(c).Capabilities = &corev1.Capabilities{Add: r.capabilities(), Drop: append(r.capabilities(), "ALL")}
	},
	func(r pssPods, c *corev1.Container) {
		ownContext(c).Capabilities = &corev1.Capabilities{Drop: r.capabilities()}
	},
	func(r pssPods, c *corev1.Container) {
		c.Ports = nil
		for range r.IntN(3) {
			c.Ports = append(c.Ports, corev1.ContainerPort{ContainerPort: 80, HostPort: pick(r, []int32{0, 80, 65535, -1}), HostIP: pick(r, hosts)})
		}
	},
	func(r pssPods, c *corev1.Container) { c.LivenessProbe = r.probe() },
	func(r pssPods, c *corev1.Container) { c.ReadinessProbe = r.probe() },
	func(r pssPods, c *corev1.Container) { c.StartupProbe = r.probe() },
	func(r pssPods, c *corev1.Container) { c.Lifecycle = r.lifecycle() },
}

func ownContext(c *corev1.Container) *corev1.SecurityContext {
	if c.SecurityContext == nil {
		c.SecurityContext = new(corev1.SecurityContext)
	}
	return c.SecurityContext
}

// annotate sets an annotation of AppArmor or seccomp, or one with a key near to theirs.
func (r pssPods) annotate(pod *corev1.Pod) {
	if pod.Annotations == nil || r.IntN(4) == 0 {
		pod.Annotations = make(map[string]string)
	}
	key := corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix
	switch r.IntN(8) {
	case 0:
		key = corev1.SeccompContainerAnnotationKeyPrefix
	case 1:
		key = strings.TrimSuffix(key, "/")
	case 2:
		key = strings.ToUpper(key)
	case 3:
		key = "x" + key
	}
	pod.Annotations[key+pick(r, containerNames)] = r.nearly(pick(r, annotationValues))
}

// volume has one source mostly; at times none, two, or one that no API server knows.
func (r pssPods) volume() corev1.Volume {
	volume := corev1.Volume{Name: "data"}
	sources := reflect.ValueOf(&volume.VolumeSource).Elem()
	for range pick(r, []int{1, 1, 1, 1, 0, 2}) {
		source := sources.Field(r.IntN(sources.NumField()))
		source.Set(reflect.New(source.Type().Elem()))
	}
	return volume
}

func (r pssPods) seccomp() *corev1.SeccompProfile {
	if r.IntN(4) == 0 {
		return nil
	}
	return &corev1.SeccompProfile{Type: corev1.SeccompProfileType(r.nearly(pick(r, profileTypes)))}
}

func (r pssPods) appArmor() *corev1.AppArmorProfile {
	if r.IntN(4) == 0 {
		return nil
	}
	return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileType(r.nearly(pick(r, profileTypes)))}
}

func (r pssPods) seLinux() *corev1.SELinuxOptions {
	if r.IntN(4) == 0 {
		return nil
	}
	options := &corev1.SELinuxOptions{Type: r.nearly(pick(r, seLinuxTypes)), Level: "s0:c123"}
	options.User = pick(r, []string{"", "", "", "system_u", " "})
	options.Role = pick(r, []string{"", "", "", "system_r", "\t"})
	return options
}

func (r pssPods) windows() *corev1.WindowsSecurityContextOptions {
	if r.IntN(4) == 0 {
		return nil
	}
	return &corev1.WindowsSecurityContextOptions{HostProcess: r.boolOrNil()}
}

func (r pssPods) capabilities() (names []corev1.Capability) {
	for range r.IntN(3) {
		names = append(names, corev1.Capability(r.nearly(pick(r, capabilities))))
	}
	return names
}

func (r pssPods) probe() *corev1.Probe {
	if r.IntN(6) == 0 {
		return nil
	}
	probe := new(corev1.Probe)
	r.sometimes(func() { probe.HTTPGet = &corev1.HTTPGetAction{Path: "/", Host: pick(r, hosts)} })
	r.sometimes(func() { probe.TCPSocket = &corev1.TCPSocketAction{Host: pick(r, hosts)} })
	r.sometimes(func() { probe.Exec = &corev1.ExecAction{Command: []string{"true"}} })
	return probe
}

func (r pssPods) lifecycle() *corev1.Lifecycle {
	if r.IntN(6) == 0 {
		return nil
	}
	handler := func() *corev1.LifecycleHandler {
		h := new(corev1.LifecycleHandler)
		r.sometimes(func() { h.HTTPGet = &corev1.HTTPGetAction{Host: pick(r, hosts)} })
		r.sometimes(func() { h.TCPSocket = &corev1.TCPSocketAction{Host: pick(r, hosts)} })
		return h
	}
	lifecycle := new(corev1.Lifecycle)
	r.sometimes(func() { lifecycle.PostStart = handler() })
	r.sometimes(func() { lifecycle.PreStop = handler() })
	return lifecycle
}

// nearly returns the text mostly, and at times one that differs from it a little.
func (r pssPods) nearly(text string) string {
	switch r.IntN(20) {
	case 0:
		return text + " "
	case 1:
		return strings.ToLower(text)
	case 2:
		return "x" + text
	}
	return text
}

func (r pssPods) user() *int64 {
	return pick(r, []*int64{nil, new(int64(0)), new(int64(1)), new(int64(-1))})
}

func (r pssPods) boolOrNil() *bool { return pick(r, []*bool{nil, new(true), new(false)}) }

func (r pssPods) bool() bool { return r.IntN(2) == 0 }

func (r pssPods) sometimes(do func()) {
	if r.bool() {
		do()
	}
}

func pick[T any](r pssPods, from []T) T { return from[r.IntN(len(from))] }
