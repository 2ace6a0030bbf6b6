package dumptest

import "fmt"

func (p replica) status() object {
	phase := "Running"
	if p.Done {
		phase = "Succeeded"
	} else if p.stuck() {
		phase = "Pending"
	}
	s := object{
		{"conditions", p.conditions()},
		{"containerStatuses", p.statuses(p.Containers, false)},
		{"hostIP", p.hostIP()},
		{"hostIPs", list{object{{"ip", p.hostIP()}}}},
		{"phase", phase},
		{"podIP", p.podIP()},
		{"podIPs", list{object{{"ip", p.podIP()}}}},
		{"qosClass", "Burstable"},
		{"startTime", p.at(0)},
	}
	if len(p.Init) > 0 {
		s.set("initContainerStatuses", p.statuses(p.Init, true))
	}
	return s
}

// stuck says that a container has never started: its image does not come.
func (p replica) stuck() bool {
	for _, c := range p.Containers {
		if c.Waiting == "ImagePullBackOff" {
			return true
		}
	}
	return false
}

// ready says that every container runs.
func (p replica) ready() bool {
	for _, c := range p.Containers {
		if c.Waiting != "" {
			return false
		}
	}
	return !p.Done
}

func (p replica) conditions() list {
	conditions := make(list, 0, 5)
	add := func(kind string, ok bool, reason string, seconds int) {
		c := object{{"lastProbeTime", nil}, {"lastTransitionTime", p.at(seconds)}, {"status", "True"}, {"type", kind}}
		if !ok {
			c[2].value = "False"
			c.set("reason", reason)
			if reason == "ContainersNotReady" {
				c.set("message", fmt.Sprintf("containers with unready status: [%s]", p.Containers[0].Name))
			}
		}
		conditions = append(conditions, c)
	}
	reason := "ContainersNotReady"
	if p.Done {
		reason = "PodCompleted"
	}
	add("PodReadyToStartContainers", !p.Done, reason, 2)
	add("Initialized", true, "", 6)
	add("Ready", p.ready(), reason, 19)
	add("ContainersReady", p.ready(), reason, 19)
	add("PodScheduled", true, "", 0)
	return conditions
}

func (p replica) statuses(cs []Container, init bool) list {
	out := make(list, 0, len(cs))
	for i, c := range cs {
		finished := p.Done || init && !c.Sidecar
		image := digest(p.seed, c.Image)
		s := object{
			{"image", c.Image},
			{"imageID", repository(c.Image) + "@sha256:" + image},
			{"lastState", p.lastState(c)},
			{"name", c.Name},
			{"ready", c.Waiting == "" && !p.Done},
			{"restartCount", c.Restarts},
			{"started", c.Waiting == "" && !finished},
			{"state", p.state(c, finished)},
		}
		if c.Waiting != "ImagePullBackOff" {
			s.set("containerID", "containerd://"+digest(p.seed+uint64(p.i*16+i), c.Name))
		}
		out = append(out, s)
	}
	return out
}

func repository(image string) string {
	for i := len(image) - 1; i >= 0 && image[i] != '/'; i-- {
		if image[i] == ':' {
			return image[:i]
		}
	}
	return image
}

func (p replica) state(c Container, finished bool) object {
	switch {
	case c.Waiting != "":
		return object{{"waiting", object{
			{"message", fmt.Sprintf("%s of container %q", c.Waiting, c.Name)},
			{"reason", c.Waiting},
		}}}
	case finished:
		return object{{"terminated", p.terminated("Completed", 0)}}
	default:
		return object{{"running", object{{"startedAt", p.at(12)}}}}
	}
}

func (p replica) lastState(c Container) object {
	if c.Restarts == 0 {
		return object{}
	}
	return object{{"terminated", p.terminated("Error", 1)}}
}

func (p replica) terminated(reason string, code int) object {
	return object{
		{"containerID", "containerd://" + digest(p.seed+uint64(p.i), reason)},
		{"exitCode", code},
		{"finishedAt", p.at(95)},
		{"reason", reason},
		{"startedAt", p.at(8)},
	}
}
