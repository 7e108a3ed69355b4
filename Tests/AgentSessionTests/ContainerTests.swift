import AgentAPI
import AgentService
import Testing

@Suite("The container of a process, by its control groups")
struct ContainerTests {
    private static let id = String(repeating: "0123456789abcdef", count: 4)

    @Test(
        "Names that runtimes give",
        arguments: [
            ("0::/system.slice/docker-\(id).scope", "docker", id),
            ("12:memory:/docker/\(id)\n0::/", "docker", id),
            ("0::/machine.slice/libpod-\(id).scope/container", "podman", id),
            ("0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-\(id).scope", "podman", id),
            ("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-\(id).scope", "containerd", id),
            ("4:cpu:/kubepods/burstable/pod1/\(id)", "containerd", id),
            ("0::/system.slice/nerdctl-\(id).scope", "containerd", id),
            ("0::/default/\(id)", "containerd", id),
            ("0::/kubepods.slice/crio-\(id).scope", "cri-o", id),
            ("0::/lxc.payload.web/init.scope", "lxc", "web"),
            ("5:devices:/lxc/web", "lxc", "web"),
            ("0::/machine.slice/systemd-nspawn@web.service/payload", "systemd-nspawn", "web"),
        ])
    func recognised(text: String, runtime: String, name: String) {
        #expect(PortExplanation.Container(controlGroups: text) == .init(runtime: runtime, name: name))
    }

    @Test(
        "What is no container",
        arguments: [
            "", "0::/", "0::/system.slice/docker.service", "0::/user.slice/user-0.slice/session-3.scope",
            "0::/system.slice/docker-proxy.scope", "0::/machine.slice/libpod-conmon-\(id).scope", "nonsense",
        ])
    func none(text: String) {
        #expect(PortExplanation.Container(controlGroups: text) == nil)
    }
}
