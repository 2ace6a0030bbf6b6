package defaults

import (
	"bytes"
	stdjson "encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/kube-devops/kube-devops/rules"
)

// Pod returns the JSON of a pod with the defaults of a pod. It returns a text that is not a valid Pod unchanged, because the API server would
// not store that.
func Pod(pod []byte) []byte {
	return complete(pod, func(spec *corev1.PodSpec) {
		setPod(spec)
		setSpec(spec)
	})
}

// Template returns the JSON of a pod with the defaults of a workload's pod template, which are fewer than those of a pod.
func Template(pod []byte) []byte { return complete(pod, setSpec) }

func complete(text []byte, set func(*corev1.PodSpec)) []byte {
	var pod corev1.Pod
	if err := json.Unmarshal(text, &pod); err != nil {
		return text
	}
	set(&pod.Spec)
	var completed bytes.Buffer
	encoder := stdjson.NewEncoder(&completed)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(&pod); err != nil {
		return text
	}
	return completed.Bytes()
}

// setIfZero sets a value if it is the zero value, which the API server treats as not set.
func setIfZero[T comparable](value *T, to T) {
	var zero T
	if *value == zero {
		*value = to
	}
}

// setIfNil sets a pointer if it is nil. For a pointer, 0 and false are values that are set.
func setIfNil[T any](value **T, to T) {
	if *value == nil {
		*value = &to
	}
}

// setPod sets the defaults that pods have and pod templates do not.
func setPod(spec *corev1.PodSpec) {
	if seconds := spec.TerminationGracePeriodSeconds; seconds != nil && *seconds < 0 {
		*seconds = 1
	}
	setIfNil(&spec.EnableServiceLinks, true)
	for _, containers := range [][]corev1.Container{spec.Containers, spec.InitContainers} {
		for i := range containers {
			c := &containers[i]
			if c.Resources.Requests == nil {
				c.Resources.Requests = make(corev1.ResourceList)
			}
			for name, limit := range c.Resources.Limits {
				if _, known := c.Resources.Requests[name]; !known {
					c.Resources.Requests[name] = limit
				}
			}
			for j := range c.Ports {
				if spec.HostNetwork {
					setIfZero(&c.Ports[j].HostPort, c.Ports[j].ContainerPort)
				}
			}
		}
	}
}

func setSpec(spec *corev1.PodSpec) {
	setIfZero(&spec.ServiceAccountName, spec.DeprecatedServiceAccount)
	spec.DeprecatedServiceAccount = spec.ServiceAccountName
	setIfZero(&spec.DNSPolicy, corev1.DNSClusterFirst)
	setIfZero(&spec.RestartPolicy, corev1.RestartPolicyAlways)
	setIfZero(&spec.SchedulerName, corev1.DefaultSchedulerName)
	setIfNil(&spec.SecurityContext, corev1.PodSecurityContext{})
	setIfNil(&spec.TerminationGracePeriodSeconds, int64(corev1.DefaultTerminationGracePeriodSeconds))
	round(spec.Overhead)
	for i := range spec.Volumes {
		setVolume(&spec.Volumes[i].VolumeSource)
	}
	for _, containers := range [][]corev1.Container{spec.Containers, spec.InitContainers} {
		for i := range containers {
			setContainer(&containers[i])
		}
	}
}

func setContainer(c *corev1.Container) {
	setIfZero(&c.ImagePullPolicy, pullPolicy(c.Image))
	setIfZero(&c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	setIfZero(&c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	for i := range c.Ports {
		setIfZero(&c.Ports[i].Protocol, corev1.ProtocolTCP)
	}
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil {
			setFieldRef(from.FieldRef)
		}
	}
	round(c.Resources.Limits)
	round(c.Resources.Requests)
	for _, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if probe != nil {
			setProbe(probe)
		}
	}
	if c.Lifecycle != nil {
		for _, handler := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if handler != nil {
				setHTTPGet(handler.HTTPGet)
			}
		}
	}
}

// mostOfficial is the maximum length of an official image's name: 255 characters including "library/".
const mostOfficial = 255 - len("library/")

// pullPolicy returns the default pull policy of an image: Always for the tag latest, even with a digest, and for an image without tag and
// digest. For any other image, and for an invalid reference, it returns IfNotPresent.
func pullPolicy(image string) corev1.PullPolicy {
	tag, ok := rules.ImageTag(image)
	name, _, pinned := strings.Cut(image, "@")
	if pinned && strings.HasSuffix(name, ":latest") {
		tag = "latest"
	}
	if !strings.Contains(name, "/") && len(strings.TrimSuffix(name, ":latest")) > mostOfficial {
		ok = false
	}
	if ok && tag == "latest" {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

func setProbe(p *corev1.Probe) {
	setIfZero(&p.TimeoutSeconds, 1)
	setIfZero(&p.PeriodSeconds, 10)
	setIfZero(&p.SuccessThreshold, 1)
	setIfZero(&p.FailureThreshold, 3)
	setHTTPGet(p.HTTPGet)
	if p.GRPC != nil {
		setIfNil(&p.GRPC.Service, "")
	}
}

func setHTTPGet(action *corev1.HTTPGetAction) {
	if action != nil {
		setIfZero(&action.Path, "/")
		setIfZero(&action.Scheme, corev1.URISchemeHTTP)
	}
}

func setFieldRef(of *corev1.ObjectFieldSelector) {
	if of != nil {
		setIfZero(&of.APIVersion, "v1")
	}
}

func setVolume(v *corev1.VolumeSource) {
	switch {
	case *v == corev1.VolumeSource{}:
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
	case v.HostPath != nil:
		setIfNil(&v.HostPath.Type, corev1.HostPathUnset)
	case v.Secret != nil:
		setIfNil(&v.Secret.DefaultMode, corev1.SecretVolumeSourceDefaultMode)
	case v.ConfigMap != nil:
		setIfNil(&v.ConfigMap.DefaultMode, corev1.ConfigMapVolumeSourceDefaultMode)
	case v.DownwardAPI != nil:
		setIfNil(&v.DownwardAPI.DefaultMode, corev1.DownwardAPIVolumeSourceDefaultMode)
		setItems(v.DownwardAPI.Items)
	case v.Projected != nil:
		setProjected(v.Projected)
	case v.Image != nil:
		setIfZero(&v.Image.PullPolicy, pullPolicy(v.Image.Reference))
	case v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil:
		claim := &v.Ephemeral.VolumeClaimTemplate.Spec
		setIfNil(&claim.VolumeMode, corev1.PersistentVolumeFilesystem)
		round(claim.Resources.Limits)
		round(claim.Resources.Requests)
	}
}

func setProjected(v *corev1.ProjectedVolumeSource) {
	setIfNil(&v.DefaultMode, corev1.ProjectedVolumeSourceDefaultMode)
	for i := range v.Sources {
		if token := v.Sources[i].ServiceAccountToken; token != nil {
			setIfNil(&token.ExpirationSeconds, 3600)
		}
		if api := v.Sources[i].DownwardAPI; api != nil {
			setItems(api.Items)
		}
	}
}

func setItems(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		setFieldRef(items[i].FieldRef)
	}
}

// round rounds quantities up to multiples of a thousandth, as the API server does.
func round(quantities corev1.ResourceList) {
	for name, quantity := range quantities {
		quantity.RoundUp(resource.Milli)
		quantities[name] = quantity
	}
}
