"""Windows Network Load Balancing (guide chapter 4): a PowerShell file for the cluster, and the watchdog that each host needs.

NLB looks at no application, only at its hosts. So a watchdog on each host asks the own portal and takes the host out of the
cluster, or in again. The default host, that with the lowest host priority, gets all traffic while it is in.
"""

from __future__ import annotations

import ipaddress
import math

from ftplugin.core.settings import SettingsError

from .plan import File, Follow, Plan, commented, header, ms, prefix_length

GUIDE_PREFIX = 24
CARD = "Ethernet"


def multicast_mac(vip: str) -> str:
    """``03-bf-0a-05-01-33`` of 10.5.1.51: what NLB answers with in multicast mode, and the router must be told."""
    return "-".join(["03", "bf", *(f"{byte:02x}" for byte in ipaddress.IPv4Address(vip).packed)])


def make(plan: Plan) -> tuple[File, ...]:
    """``ft-nlb.ps1`` and ``ft-nlb-watchdog.ps1``. Raises SettingsError."""
    _fits(plan)
    subnet = _subnet(plan)
    mac = multicast_mac(plan.vip.host)
    cannot = (
        "see a dead portal or application by itself: the watchdog does it, and while that is stopped nobody does.",
        "read IPSWS=KO without the watchdog; guide 3.1.2.2 says not to use application error with it.",
        "take part in the VIP test: leave the VIP empty in the settings (guide 3.1.1), so that the pair decides alone.",
    )
    todo = (
        f"both servers in one subnet, {subnet}, with the same VLAN; switches of layer 2 and 3 must accept multicast.",
        f"a static ARP entry on the VLAN's gateway: {plan.vip.host} to {mac}; without it other subnets do not reach the VIP.",
        "a local administrator's account, even in a domain.",
        f"the full internet name, {plan.options.full_name}, must be given even if nobody uses it.",
        "ft-nlb.ps1 once on server #1; it warns of multicast, which is right here.",
        "reboot both servers afterwards: without it the second may be very slow.",
        r"ft-nlb-watchdog.ps1 to C:\ft on both servers; on each, as administrator: .\ft-nlb-watchdog.ps1 -Server N -Install",
        "then: Get-NlbClusterNode shows both Converged, host priorities 1 and 2; open the VIP in a browser.",
    )
    head = header(plan, "Windows NLB", cannot, todo)
    return (
        File(name="ft-nlb.ps1", text=commented(head) + _cluster(plan, subnet)),
        File(name="ft-nlb-watchdog.ps1", text=commented(head[:6]) + _watchdog(plan)),
    )


def _fits(plan: Plan) -> None:
    if ":" in plan.vip.host:
        raise SettingsError("vip", "must be IPv4 for Windows NLB, whose multicast MAC is made of it", plan.vip.host)
    for number, address in enumerate(plan.servers, 1):
        if ":" in address.host:
            raise SettingsError(f"server{number}_address", "must be IPv4 for Windows NLB", address.host)
        if address.port != plan.vip.port:
            raise SettingsError(
                f"server{number}_address",
                f"must have the VIP's port, {plan.vip.port}: NLB changes no port",
                address.port,
            )


def _subnet(plan: Plan) -> ipaddress.IPv4Network:
    """Of the VIP; both servers are in it. Raises SettingsError."""
    subnet = ipaddress.IPv4Network((plan.vip.host, prefix_length(plan, GUIDE_PREFIX)), strict=False)
    for number, address in enumerate(plan.servers, 1):
        if ipaddress.IPv4Address(address.host) not in subnet:
            raise SettingsError(
                f"server{number}_address",
                f"must be in the subnet of the VIP, {subnet}: Windows NLB works in one only; see prefix_length",
                address.host,
            )
    return subnet


def _cluster(plan: Plan, subnet: ipaddress.IPv4Network) -> str:
    first, second = (address.host for address in plan.servers)
    return f"""\
$ErrorActionPreference = 'Stop'
$card = '{plan.options.interface or CARD}'
$second = '{second}'
foreach ($server in @($env:COMPUTERNAME, $second)) {{
    Install-WindowsFeature -Name NLB -IncludeManagementTools -ComputerName $server | Out-Null
}}
if (-not (Get-NetIPAddress -InterfaceAlias $card -IPAddress '{first}' -ErrorAction SilentlyContinue)) {{
    throw "run this on server #1: the network card $card has not the address {first}"
}}
New-NlbCluster -InterfaceName $card -OperationMode Multicast -ClusterPrimaryIP '{plan.vip.host}' `
    -SubnetMask '{subnet.netmask}' -ClusterName '{plan.options.full_name}' | Out-Null
Add-NlbClusterNode -InterfaceName $card -NewNodeName $second -NewNodeInterface $card | Out-Null
Set-NlbClusterNode -HostName $env:COMPUTERNAME -HostPriority 1 | Out-Null
Set-NlbClusterNode -HostName $second -HostPriority 2 | Out-Null
# no port rule: the default host, that with the lowest priority that is in, gets everything
Get-NlbClusterPortRule | Remove-NlbClusterPortRule -Force
Write-Output 'Static ARP entry for the gateway: {plan.vip.host} {multicast_mac(plan.vip.host)}'
Write-Output 'Reboot both servers now, then install the watchdog on both.'
"""


def _watchdog(plan: Plan) -> str:
    returns = {
        (Follow.ROLE, True): "$true",
        (Follow.ROLE, False): "$true",
        (Follow.LEAD, True): "$true",
        # without failback a server comes back only when the other is bad
        (Follow.LEAD, False): "-not (Test-Portal $urls[2 - $Server])",
    }[plan.follow, plan.failback]
    limit_s = math.ceil(plan.timeout_s)
    return f"""\
param([Parameter(Mandatory)][ValidateSet(1, 2)][int]$Server, [switch]$Install)
$ErrorActionPreference = 'Stop'
$urls = @('{plan.url(1)}', '{plan.url(2)}')
$begin = '{plan.begin}'
if ($Install) {{
    $words = '-NoProfile -ExecutionPolicy Bypass -File "' + $PSCommandPath + '" -Server ' + $Server
    $action = New-ScheduledTaskAction -Execute 'powershell.exe' -Argument $words
    $trigger = New-ScheduledTaskTrigger -AtStartup
    $limits = New-ScheduledTaskSettingsSet -RestartCount 999 -RestartInterval (New-TimeSpan -Minutes 1) `
        -ExecutionTimeLimit ([TimeSpan]::Zero)
    Register-ScheduledTask -TaskName 'ft-nlb-watchdog' -User 'SYSTEM' -RunLevel Highest -Force `
        -Action $action -Trigger $trigger -Settings $limits | Out-Null
    Start-ScheduledTask -TaskName 'ft-nlb-watchdog'
    return
}}
function Test-Portal([string]$url) {{
    try {{
        $answer = Invoke-WebRequest -Uri $url -UseBasicParsing -TimeoutSec {limit_s} -MaximumRedirection 0
        return $answer.StatusCode -eq 200 -and ([string]$answer.Content).StartsWith($begin, 'Ordinal')
    }} catch {{ return $false }}
}}
$bad = 0; $good = 0
while ($true) {{
    $began = [Diagnostics.Stopwatch]::StartNew()
    try {{
        if (Test-Portal $urls[$Server - 1]) {{ $good++; $bad = 0 }} else {{ $bad++; $good = 0 }}
        $in = (Get-NlbClusterNode -HostName $env:COMPUTERNAME).State -notin 'Stopped', 'Suspended'
        if ($in -and $bad -ge {plan.fall}) {{ Stop-NlbClusterNode -HostName $env:COMPUTERNAME | Out-Null }}
        if (-not $in -and $good -ge {plan.rise} -and ({returns})) {{
            Start-NlbClusterNode -HostName $env:COMPUTERNAME | Out-Null
        }}
    }} catch {{ Write-Warning $_ }}
    $rest = {ms(plan.interval_s)[:-2]} - $began.ElapsedMilliseconds
    if ($rest -gt 0) {{ Start-Sleep -Milliseconds $rest }}
}}
"""
