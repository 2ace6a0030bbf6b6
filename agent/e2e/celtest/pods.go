package celtest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Random creates random objects of API types. Any field may be set, to any value of its type.
type Random struct {
	*rand.Rand
	// Texts has the texts of a table, so that its checks often pass and often fail.
	Texts []string
	// Longest is the maximum length of a text; 0 for no limit.
	Longest int
	// Now is the creation time of all objects.
	Now time.Time
}

// texts has texts that are useful for any table.
var texts = []string{"", "a", "app", "x-1", "Always", "ALL", "all", ".", "+", "true", "latest", "0", "é🙂", "a\nb", "two words", `"quoted" \ back`, "1Gi", "500m", "0.3Gi", "1e3", "-5",
	"nginx", "nginx:latest", "nginx:1.27", "library/nginx:latest", "docker.io/nginx", "docker.io/library/nginx@sha256:" + sixtyFour, "index.docker.io/org/app:1",
	"localhost/app", "localhost:5000/app:latest", "registry.example.com/team/app:1", "REGISTRY.example.com/team/app", "ghcr.io/org/app:v1@sha256:" + sixtyFour,
	"bad image", "a..b", "a__b/c:latest", "[::1]:5000/app", sixtyFour, "org/app.name/x", "a.b/c", strings.Repeat("a/", 130) + "b:latest", "a.b/" + strings.Repeat("c", 255) + ":latest",
	"a_b/" + strings.Repeat("c", 255) + ":latest", strings.Repeat("1", 70), "1e200", "1e-200", "100e-3", "0.0000000001", "9223372036854775807", "16Ei"}

const sixtyFour = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

var images = func() (of []string) {
	for _, text := range texts {
		if strings.ContainsAny(text, "/:") || text == sixtyFour || text == "nginx" {
			of = append(of, text)
		}
	}
	return of
}()

var quantities = []string{"0", "1", "100m", "0.5", "1500m", "2", "64Mi", "1Gi", "1.5Gi", "0.3Gi", "1e3", "16Ei", "1n", "12345678901234567890", "3E"}

var integers = []int64{0, 0, 1, 1, 2, 3, 5, 22, 30, 31, 80, 443, 1000, 1024, 8080, 9999, 10000, -1}

var names = []string{"app", "db", "web", "init-a", "side-car", "x"}

// Text returns a text of the table, or another text.
func (r *Random) Text() string {
	for {
		if text := r.anyText(); r.Longest == 0 || len(text) <= r.Longest {
			return text
		}
	}
}

func (r *Random) anyText() string {
	if len(r.Texts) > 0 && r.IntN(2) == 0 {
		return r.Texts[r.IntN(len(r.Texts))]
	}
	return texts[r.IntN(len(texts))]
}

// likely has the fields that are set more often than others.
var likely = map[string]bool{"Spec": true, "Containers": true, "Image": true, "SecurityContext": true, "Resources": true, "Ports": true, "Env": true,
	"Volumes": true, "Limits": true, "Requests": true, "InitContainers": true, "LivenessProbe": true, "Capabilities": true, "Add": true, "Drop": true}

// fill sets the fields of a value.
func (r *Random) fill(v reflect.Value, field string, depth int) {
	switch v.Interface().(type) {
	case metav1.Time, metav1.MicroTime, metav1.FieldsV1, runtime.RawExtension, corev1.PodStatus:
		return
	case resource.Quantity:
		v.Set(reflect.ValueOf(resource.MustParse(quantities[r.IntN(len(quantities))])))
		return
	case intstr.IntOrString:
		of := intstr.FromInt32(int32(integers[r.IntN(len(integers))]))
		if r.IntN(2) == 0 {
			of = intstr.FromString(r.Text())
		}
		v.Set(reflect.ValueOf(of))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.fill(v.Elem(), field, depth)
	case reflect.Struct:
		defer r.named(v)
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			often := likely[name] && r.IntN(4) > 0
			if depth < 2 || often || r.IntN(depth+1) == 0 {
				r.fill(v.Field(i), name, depth+1)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(r.Text()))
			return
		}
		n := r.IntN(3)
		if likely[field] {
			n = r.IntN(4)
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			r.fill(v.Index(i), field, depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		keys := append([]string{r.Text(), r.Text()}, "cpu", "memory", "app", "app.kubernetes.io/name", "pod-template-hash")
		for range r.IntN(4) {
			value := reflect.New(v.Type().Elem()).Elem()
			r.fill(value, field, depth+1)
			v.SetMapIndex(reflect.ValueOf(keys[r.IntN(len(keys))]).Convert(v.Type().Key()), value)
		}
	case reflect.String:
		if field == "Image" && r.Longest == 0 && r.IntN(2) == 0 {
			v.SetString(images[r.IntN(len(images))])
			return
		}
		v.SetString(r.Text())
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(integers[r.IntN(len(integers))])
	case reflect.Float64:
		v.SetFloat(1.5)
	default:
		panic("fill " + v.Type().String())
	}
}

// named sets a name that the API server requires.
func (r *Random) named(v reflect.Value) {
	if of, ok := v.Type().FieldByName("Name"); ok && of.Tag.Get("json") == "name" && v.FieldByName("Name").String() == "" {
		v.FieldByName("Name").SetString(names[r.IntN(len(names))])
	}
}

// podSpec returns a random pod specification whose containers have names.
func (r *Random) podSpec() corev1.PodSpec {
	var spec corev1.PodSpec
	r.fill(reflect.ValueOf(&spec).Elem(), "Spec", 1)
	if len(spec.Containers) == 0 {
		spec.Containers = make([]corev1.Container, 1)
	}
	n := 0
	name := func() string { n++; return names[r.IntN(len(names))] + fmt.Sprint(n) }
	for i := range spec.Containers {
		spec.Containers[i].Name = name()
	}
	for i := range spec.InitContainers {
		spec.InitContainers[i].Name = name()
	}
	for i := range spec.EphemeralContainers {
		spec.EphemeralContainers[i].Name = name()
	}
	return spec
}

func (r *Random) maps() (labels, annotations map[string]string) {
	var meta metav1.ObjectMeta
	r.fill(reflect.ValueOf(&meta.Labels).Elem(), "Labels", 2)
	r.fill(reflect.ValueOf(&meta.Annotations).Elem(), "Annotations", 2)
	return meta.Labels, meta.Annotations
}

var namespaces = []string{"shop", "shop-eu", "kube-system", "my-system", "default", "monitoring"}

var owners = []metav1.OwnerReference{
	{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d4f8"}, {APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "plain"},
	{APIVersion: "batch/v1", Kind: "Job", Name: "report-12345678"}, {APIVersion: "batch/v1", Kind: "Job", Name: "once"},
	{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db"}, {APIVersion: "v1", Kind: "Node", Name: "node-1"},
}

func (r *Random) meta(name string) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{Name: name, Namespace: namespaces[r.IntN(len(namespaces))], UID: types.UID("uid-" + name), CreationTimestamp: metav1.NewTime(r.Now)}
	meta.Labels, meta.Annotations = r.maps()
	return meta
}

// Object returns a random pod, or a workload with a random template. The number makes its name unique.
func (r *Random) Object(i int) Request {
	name := fmt.Sprintf("%s-%d", names[r.IntN(len(names))], i)
	meta := r.meta(name)
	of := Request{Operation: "CREATE", Namespace: meta.Namespace, Name: name}
	if r.IntN(4) > 0 {
		for range r.IntN(3) {
			owner := owners[r.IntN(len(owners))]
			owner.UID = "owner"
			if r.IntN(2) == 0 {
				owner.Controller = new(true)
			}
			meta.OwnerReferences = append(meta.OwnerReferences, owner)
		}
		if r.IntN(2) == 0 {
			if meta.Labels == nil {
				meta.Labels = make(map[string]string)
			}
			meta.Labels["pod-template-hash"] = "5d4f8"
		}
		pod := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: meta, Spec: r.podSpec()}
		of.Object, of.Kind, of.Resource = pod, corev1.SchemeGroupVersion.WithKind("Pod"), corev1.SchemeGroupVersion.WithResource("pods")
		return of
	}
	template := corev1.PodTemplateSpec{Spec: r.podSpec()}
	template.Labels, template.Annotations = r.maps()
	apps := func(kind string) (metav1.TypeMeta, schema.GroupVersionKind, schema.GroupVersionResource) {
		return metav1.TypeMeta{APIVersion: "apps/v1", Kind: kind}, appsv1.SchemeGroupVersion.WithKind(kind),
			appsv1.SchemeGroupVersion.WithResource(strings.ToLower(kind) + "s")
	}
	var typeMeta metav1.TypeMeta
	switch r.IntN(3) {
	case 0:
		typeMeta, of.Kind, of.Resource = apps("Deployment")
		of.Object = &appsv1.Deployment{TypeMeta: typeMeta, ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Template: template}}
	case 1:
		typeMeta, of.Kind, of.Resource = apps("StatefulSet")
		of.Object = &appsv1.StatefulSet{TypeMeta: typeMeta, ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Template: template}}
	default:
		typeMeta = metav1.TypeMeta{APIVersion: "batch/v1", Kind: "CronJob"}
		of.Kind, of.Resource = batchv1.SchemeGroupVersion.WithKind("CronJob"), batchv1.SchemeGroupVersion.WithResource("cronjobs")
		of.Object = &batchv1.CronJob{TypeMeta: typeMeta, ObjectMeta: meta,
			Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template}}}}
	}
	return of
}
