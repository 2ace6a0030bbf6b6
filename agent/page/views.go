package page

import "time"

// A View is one of the pages: Overview, Namespace, Waivers, Policy, Changes, NotFound, Rejected and Standby.
type View interface{ frame() frame }

// A Head has the facts about the agent and its data that each view shows.
type Head struct {
	// Time is when the data was read. Page and JSON show it in UTC.
	Time time.Time `json:"time"`
	// Cluster is the name of the cluster; empty if the agent does not know it.
	Cluster string `json:"cluster,omitempty"`
	// Scope has the namespaces that the agent watches; empty for all.
	Scope  []string  `json:"scope,omitempty"`
	Policy PolicyRef `json:"policy"`
	// Grades has the names of the policy's grades, best first.
	Grades []string `json:"grades"`
	// HistoryURL is the address of older history, such as a Prometheus dashboard; empty if the agent does not know it.
	HistoryURL string `json:"historyURL,omitempty"`
	// Version is the version of the agent.
	Version string `json:"version,omitempty"`
	// Warnings has sentences about problems of the policy, the waivers or the agent.
	Warnings []string `json:"warnings,omitempty"`
}

// A PolicyRef names a policy table.
type PolicyRef struct {
	Name string `json:"name"`
	Hash string `json:"hash"`
}

// Scores has the scores of a namespace or of the cluster. A score is null if there is no data, and a change if there is no data of that age.
type Scores struct {
	Score      *float64 `json:"score"`
	Compliance *float64 `json:"compliance"` // in percent
	Grade      *string  `json:"grade"`
	// GradeReason explains why the grade is lower than the compliance alone would give; empty if it is not lower.
	GradeReason string `json:"gradeReason,omitempty"`
	// HourChange and DayChange are the change of the compliance in the last hour and the last day, in percentage points.
	HourChange *float64 `json:"hourChange"`
	DayChange  *float64 `json:"dayChange"`
	// Trend is the compliance of the last 24 hours.
	Trend Trend `json:"trend"`
}

// Counts has the numbers of pods and violations. Violations includes unknown violations, and excludes waived ones.
type Counts struct {
	Pods       int `json:"pods"`
	Violations int `json:"violations"`
	Waived     int `json:"waived"`
	Unknown    int `json:"unknown"`
}

// An Overview is the view of all namespaces, GET /.
type Overview struct {
	Head
	Total Total `json:"total"`
	Query Query `json:"query"`
	// Namespaces has the rows of this page, in the order of the query.
	Namespaces []NamespaceRow `json:"namespaces"`
	Uncounted  Uncounted      `json:"uncounted"`
}

// A Total has the scores and counts of the cluster. They do not depend on the query.
type Total struct {
	Scores
	Counts
	Namespaces int `json:"namespaces"`
	// ByGrade has the number of namespaces with each grade, in the order of Head.Grades. It excludes namespaces without data.
	ByGrade []int `json:"byGrade"`
	// BySeverity has the number of violations of each severity, most severe first.
	BySeverity []SeverityCount `json:"bySeverity"`
}

// A SeverityCount is the number of violations of a severity.
type SeverityCount struct {
	Severity   string `json:"severity"`
	Violations int    `json:"violations"`
}

// A NamespaceRow is the row of one namespace in the overview.
type NamespaceRow struct {
	Name string `json:"namespace"`
	Scores
	Counts
}

// Uncounted has the numbers of pods that are excluded from all scores, by reason.
type Uncounted struct {
	// Unevaluated is the number of pods that could not be evaluated.
	Unevaluated int `json:"unevaluated"`
	// Skipped has the pods that the policy skips, by reason. Excluded has the pods of excluded namespaces, by namespace.
	Skipped  []PodCount `json:"skipped"`
	Excluded []PodCount `json:"excluded"`
	// Unavailable has the namespaces that the agent cannot read, and the checks that it cannot evaluate.
	Unavailable []Unavailable `json:"unavailable"`
}

// A PodCount is the number of pods for a namespace or a reason.
type PodCount struct {
	Name string `json:"name"`
	Pods int    `json:"pods"`
}

// Unavailable is a namespace or a check that is excluded from all scores.
type Unavailable struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// A Namespace is the view of one namespace, GET /namespaces/NAME.
type Namespace struct {
	Head
	NamespaceRow
	// Query filters the workloads, and selects their page. Its grade and sort are not used.
	Query Query `json:"query"`
	// Checks has the columns of the grid: the checks that any workload of the namespace violates, in the order of the table.
	Checks []CheckCount `json:"checks"`
	// Workloads has the rows of the grid: the workloads with violations, most points first.
	Workloads []Workload `json:"workloads"`
	// Waivers has the waivers that accept, or could accept, violations of this namespace.
	Waivers   []Waiver  `json:"waivers"`
	Uncounted Uncounted `json:"uncounted"`
}

// A CheckCount is a check with its counts in a namespace or in the cluster.
type CheckCount struct {
	Check
	Violations int `json:"violations"`
	Subjects   int `json:"subjects"`
	Waived     int `json:"waived"`
	Unknown    int `json:"unknown"`
}

// A Check describes a check of the policy.
type Check struct {
	ID          string `json:"id"`
	Category    string `json:"category,omitempty"`
	Severity    string `json:"severity"`
	Weight      int    `json:"weight"`
	Message     string `json:"message"`
	Remediation string `json:"remediation,omitempty"`
}

// A Workload is a row of the grid, with its findings.
type Workload struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Pods is the number of pods with violations. Points is the sum of their penalty points.
	Pods   int `json:"pods"`
	Points int `json:"points"`
	// Cells has one element for each of Namespace.Checks.
	Cells    []Cell    `json:"cells"`
	Findings []Finding `json:"findings"`
	// MoreFindings is the number of findings that the view leaves out.
	MoreFindings int `json:"moreFindings"`
}

// A Cell counts the violations of one check by one workload. Violations includes unknown violations, and excludes waived ones.
type Cell struct {
	Violations int `json:"violations"`
	Waived     int `json:"waived"`
	Unknown    int `json:"unknown"`
}

// A Finding is one thing to fix: the violations of one check by the same subject in all pods of a workload.
type Finding struct {
	Check    string `json:"check"`
	Category string `json:"category,omitempty"`
	Severity string `json:"severity"`
	Weight   int    `json:"weight"`
	// Container is empty for a check on the pod. Subject is the object that the check evaluates, unless that is the container.
	Container   string `json:"container,omitempty"`
	Subject     string `json:"subject,omitempty"`
	Path        string `json:"path,omitempty"`
	Value       string `json:"value,omitempty"`
	Message     string `json:"message"`
	Remediation string `json:"remediation,omitempty"`
	// Enforce is the action of the API server when the object is created, if the exported policies of the table are installed: deny, warn or
	// audit; empty for none.
	Enforce string `json:"enforce,omitempty"`
	Unknown bool   `json:"unknown,omitempty"`
	// Waiver is the id of the waiver that accepts the finding until Expires; empty if the finding counts.
	Waiver  string     `json:"waiver,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
	// PodCount is the number of pods; a pod can have several violations. Pods has the names of some of them.
	Violations int      `json:"violations"`
	PodCount   int      `json:"podCount"`
	Pods       []string `json:"pods"`
	Points     int      `json:"points"`
	// Gain is the increase of the namespace's compliance after a fix, in percentage points; null without data.
	Gain *float64 `json:"gain"`
	// GradeAfter is the grade of the namespace after a fix; empty if it does not change.
	GradeAfter string `json:"gradeAfter,omitempty"`
}

// A Waiver accepts violations until it expires.
type Waiver struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
	// Source is the file of the waiver, or the workload with the annotation.
	Source  string    `json:"source,omitempty"`
	Expires time.Time `json:"expires"`
	Expired bool      `json:"expired"`
	// Days is the number of whole days until the waiver expires; negative if it has expired.
	Days int `json:"days"`
	// Selects has the conditions of the waiver, such as "namespace" "shop-*". A waiver without conditions accepts everything.
	Selects []Condition `json:"selects"`
	// Violations is the number of violations that the waiver accepts, or that count again because it has expired.
	Violations int `json:"violations"`
	// SupersededBy is the id of a waiver that accepts the same violations and expires later; empty for none.
	SupersededBy string `json:"supersededBy,omitempty"`
}

// A Condition is a field of a waiver with its value.
type Condition struct {
	Field string `json:"field"`
	Value string `json:"value"`
}

// Waivers is the view of all waivers, GET /waivers.
type Waivers struct {
	Head
	// Query filters the waivers, and selects their page. Its grade and sort are not used.
	Query Query `json:"query"`
	// Waived is the number of violations that waivers accept.
	Waived int `json:"waived"`
	// CountAgain is the number of violations that count again because their waivers have expired.
	CountAgain int `json:"countAgain"`
	// Waivers is sorted by expiry, earliest first.
	Waivers []Waiver `json:"waivers"`
	// Mistakes describes the annotations that accept nothing, with their locations.
	Mistakes []string `json:"mistakes,omitempty"`
}

// Policy is the view of the policy table, GET /policy.
type Policy struct {
	Head
	Description string `json:"description,omitempty"`
	// Source is the file or the built-in table that was loaded. Loaded is when; null if unknown.
	Source  string     `json:"source,omitempty"`
	Loaded  *time.Time `json:"loaded,omitempty"`
	Extends []string   `json:"extends,omitempty"`
	// ReloadError is the error that keeps a newer file from being used; empty if there is none.
	ReloadError string        `json:"reloadError,omitempty"`
	Checks      []PolicyCheck `json:"checks"`
	GradeRules  []GradeRule   `json:"gradeRules"`
	// IncludedNamespaces and ExcludedNamespaces have patterns. If IncludedNamespaces is empty, all namespaces are included.
	IncludedNamespaces []string `json:"includedNamespaces"`
	ExcludedNamespaces []string `json:"excludedNamespaces"`
	// Skips has sentences that describe which pods the policy skips.
	Skips []string `json:"skips,omitempty"`
	// Text is the table in YAML; empty if the page does not show it.
	Text string `json:"text,omitempty"`
}

// A PolicyCheck is a check of the table, with its counts in the cluster.
type PolicyCheck struct {
	CheckCount
	// Condition describes in words what a violation is. Text is the check in YAML.
	Condition string `json:"condition,omitempty"`
	Text      string `json:"text,omitempty"`
	Enforce   string `json:"enforce,omitempty"`
}

// A GradeRule is a grade of the table.
type GradeRule struct {
	Name string `json:"name"`
	// Min is the minimum compliance, in percent.
	Min float64 `json:"min"`
	// MaxSeverity is the worst severity that the grade allows; empty for any.
	MaxSeverity string `json:"maxSeverity,omitempty"`
	// Namespaces is the number of namespaces with the grade.
	Namespaces int `json:"namespaces"`
}

// Changes is the view of the last violations that were opened and resolved, GET /changes.
type Changes struct {
	Head
	// Query filters the changes. Its grade, sort and page are not used.
	Query Query `json:"query"`
	// Since is when this agent began to record changes.
	Since time.Time `json:"since"`
	// Most is the maximum number of changes that the agent keeps.
	Most int `json:"most"`
	// Changes is sorted newest first.
	Changes []Change `json:"changes"`
}

// A Change is a violation that was opened or resolved.
type Change struct {
	Time time.Time `json:"time"`
	// Opened is true if the violation was opened, and false if it was resolved.
	Opened    bool   `json:"opened"`
	Namespace string `json:"namespace"`
	Workload  string `json:"workload,omitempty"`
	Pod       string `json:"pod"`
	Check     string `json:"check"`
	Severity  string `json:"severity"`
	// Container and Subject locate the violation in the pod. They are empty for the pod itself, and if several of its subjects changed.
	Container string `json:"container,omitempty"`
	Subject   string `json:"subject,omitempty"`
	Unknown   bool   `json:"unknown,omitempty"`
	// Reason explains a change that the pod did not cause by its own change, for example because it was deleted or a waiver expired.
	Reason string `json:"reason,omitempty"`
}

// NotFound is the response to /namespaces/NAME if the agent counts no pods in a namespace with that name.
type NotFound struct {
	Head
	Name string `json:"namespace"`
	// Reason explains why, if the agent knows: for example, the policy excludes the namespace.
	Reason string `json:"reason,omitempty"`
	// Near has namespaces with similar names.
	Near []string `json:"near"`
}

// Rejected is the response to a request with invalid parameters.
type Rejected struct {
	Head
	// Path is the path of the view relative to the root, such as "" or "waivers"; "namespaces/" for any namespace.
	Path string `json:"path"`
	// Reason describes what is wrong with the parameters, without a period.
	Reason string `json:"reason"`
}

// A Standby is the page of a replica that is not the leader. It has no data.
type Standby struct {
	// Replica is the identity of this replica, and Leader that of the leader; empty if the Lease has no holder.
	Replica string `json:"replica"`
	Leader  string `json:"leader,omitempty"`
	// URL is the address of the leader's page; empty if the agent does not know one.
	URL string `json:"url,omitempty"`
	// Command is the command line that reaches the leader; empty if it is not known.
	Command string `json:"command,omitempty"`
	// Reason explains why this replica has no data although no other replica holds the Lease: for example, it is not in sync yet.
	Reason string `json:"reason,omitempty"`
	// From is when this replica starts to publish, if it holds the Lease; null if it does not, or if the time is unknown.
	From *time.Time `json:"from,omitempty"`
}
