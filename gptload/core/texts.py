"""What people read, in English, Chinese and Japanese.

The English text is the message's name: code says it in English wherever it finds it,
and it is translated where it leaves the admin API. What no table knows stays English,
so a forgotten text is readable and never an empty one. Codes, hints and whatever the
data plane says are English always: scripts and search engines read those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal

Language = Literal["en", "zh", "ja"]

_COLUMN: Final[Mapping[str, int]] = {"zh": 0, "ja": 1}
_MOST_TAGS: Final = 20
_LONGEST_MESSAGE: Final = 2000

# English: (Chinese, Japanese). `{x}` is a value; both translations have the same ones.
MESSAGES: Final[Mapping[str, tuple[str, str]]] = {
    "Success": ("操作成功", "成功"),
    "Invalid request format": ("请求格式无效", "リクエストの形式が正しくありません"),
    "Authentication successful": ("认证成功", "認証に成功しました"),
    "Authentication failed": ("认证失败", "認証に失敗しました"),
    "Too many wrong keys": (
        "错误密钥的尝试次数过多",
        "誤ったキーの入力回数が多すぎます",
    ),
    "Settings updated successfully. Configuration will be reloaded in the background across all "
    "instances.": (
        "设置更新成功。所有实例将在后台重新加载配置。",
        "設定を更新しました。すべてのインスタンスでバックグラウンドに再読み込みされます。",
    ),
    "Group and related keys deleted successfully": (
        "分组及相关密钥删除成功",
        "グループと関連するキーを削除しました",
    ),
    "Group order saved": ("分组排序已保存", "グループの並び順を保存しました"),
    "{count} keys restored": ("已恢复 {count} 个密钥", "{count} 個のキーを復元しました"),
    "{count} invalid keys cleared": (
        "已清除 {count} 个无效密钥",
        "{count} 個の無効なキーを削除しました",
    ),
    "{count} keys cleared": ("已清除 {count} 个密钥", "{count} 個のキーを削除しました"),
    "Sub groups added successfully": ("子分组添加成功", "サブグループを追加しました"),
    "Sub group weight updated successfully": (
        "子分组权重更新成功",
        "サブグループの重みを更新しました",
    ),
    "Sub group deleted successfully": ("子分组删除成功", "サブグループを削除しました"),
    "a task is already running, please wait": (
        "已有任务正在运行，请稍候",
        "タスクが実行中です。しばらくお待ちください",
    ),
    "This task can't be retried": ("该任务无法重试", "このタスクは再試行できません"),
    "This task was retried already": ("该任务已经重试过", "このタスクは再試行済みです"),
    "Nothing of this task is left to be retried": (
        "该任务没有可重试的内容",
        "このタスクには再試行するものがありません",
    ),
    "Group not found": ("分组不存在", "グループが見つかりません"),
    "Group is not an aggregate group": (
        "该分组不是聚合分组",
        "このグループは集約グループではありません",
    ),
    "Sub group {sub_group_id} already exists": (
        "子分组 {sub_group_id} 已存在",
        "サブグループ {sub_group_id} は既に存在します",
    ),
    "Sub group not found": ("子分组不存在", "サブグループが見つかりません"),
    "Invalid group name. Can only contain lowercase letters, numbers, hyphens or underscores, "
    "1-100 characters": (
        "分组名称无效。只能包含小写字母、数字、连字符或下划线，长度 1-100 个字符",
        "グループ名が無効です。小文字、数字、ハイフン、アンダースコアのみ、1〜100 文字です",
    ),
    "Invalid channel type. Supported types: {types}": (
        "渠道类型无效。支持的类型：{types}",
        "チャンネルタイプが無効です。対応するタイプ：{types}",
    ),
    "Invalid group type, must be 'standard' or 'aggregate'": (
        "分组类型无效，必须为 'standard' 或 'aggregate'",
        "グループタイプが無効です。'standard' または 'aggregate' を指定してください",
    ),
    "Test model is required": ("测试模型为必填项", "テストモデルは必須です"),
    "Test model cannot be empty or contain only spaces": (
        "测试模型不能为空或仅包含空格",
        "テストモデルを空または空白のみにすることはできません",
    ),
    "Invalid upstreams configuration: {error}": (
        "上游配置无效：{error}",
        "アップストリームの設定が無効です：{error}",
    ),
    "Invalid test path. If provided, must be a valid path starting with / and not a full URL.": (
        "测试路径无效。如需填写，必须是以 / 开头的有效路径，且不能是完整 URL。",
        "テストパスが無効です。指定する場合は / で始まる有効なパスとし、完全な URL は使えません。",
    ),
    "Duplicate header: {key}": ("请求头重复：{key}", "ヘッダーが重複しています：{key}"),
    "Aggregate groups do not support model redirect rules": (
        "聚合分组不支持模型重定向规则",
        "集約グループはモデルリダイレクトルールに対応していません",
    ),
    "A model redirect rule needs a source and a target model": (
        "模型重定向规则需要源模型和目标模型",
        "モデルリダイレクトルールには元のモデルと対象のモデルが必要です",
    ),
    "Invalid copy_keys value. Must be 'none', 'valid_only', or 'all'": (
        "copy_keys 值无效。必须为 'none'、'valid_only' 或 'all'",
        "copy_keys の値が無効です。'none'、'valid_only'、'all' のいずれかを指定してください",
    ),
    "Invalid group ID format": ("分组 ID 格式无效", "グループ ID の形式が無効です"),
    "Invalid groupId format": ("groupId 格式无效", "groupId の形式が無効です"),
    "group_id query parameter is required": (
        "缺少查询参数 group_id",
        "クエリパラメータ group_id は必須です",
    ),
    "Invalid group_id format": ("group_id 格式无效", "group_id の形式が無効です"),
    "Invalid status filter": ("状态筛选条件无效", "ステータスの絞り込み条件が無効です"),
    "Invalid status value": ("状态值无效", "ステータスの値が無効です"),
    "Keys text cannot be empty": ("密钥文本不能为空", "キーのテキストを空にできません"),
    "File is required": ("请选择文件", "ファイルは必須です"),
    "Only .txt files are supported": (
        "仅支持 .txt 文件",
        ".txt ファイルのみ対応しています",
    ),
    "Failed to open file": ("打开文件失败", "ファイルを開けませんでした"),
    "Failed to read file content": (
        "读取文件内容失败",
        "ファイルの内容を読み込めませんでした",
    ),
    "Aggregate group must contain at least one sub-group": (
        "聚合分组必须至少包含一个子分组",
        "集約グループには少なくとも 1 つのサブグループが必要です",
    ),
    "Invalid sub-group ID": ("子分组 ID 无效", "サブグループ ID が無効です"),
    "One or more sub-groups not found": (
        "一个或多个子分组不存在",
        "1 つ以上のサブグループが見つかりません",
    ),
    "Sub-groups cannot be aggregate groups": (
        "子分组不能是聚合分组",
        "集約グループをサブグループにすることはできません",
    ),
    "All sub-groups must use the same channel type": (
        "所有子分组必须使用相同的渠道类型",
        "すべてのサブグループは同じチャンネルタイプでなければなりません",
    ),
    "Sub-group endpoints are inconsistent. All sub-groups of an aggregate must use the same "
    "validation endpoint": (
        "子分组的端点不一致。聚合分组的所有子分组必须使用相同的验证端点",
        "サブグループのエンドポイントが一致しません。"
        "集約グループのサブグループはすべて同じ検証エンドポイントを使う必要があります",
    ),
    "Sub-group weight cannot be negative": (
        "子分组权重不能为负数",
        "サブグループの重みを負の値にすることはできません",
    ),
    "Sub-group weight cannot exceed {limit}": (
        "子分组权重不能超过 {limit}",
        "サブグループの重みは {limit} を超えられません",
    ),
    "This group is referenced by {count} aggregate group(s) as a sub-group. Its channel type and "
    "validation endpoint cannot be modified": (
        "该分组作为子分组被 {count} 个聚合分组引用，不能修改其渠道类型和验证端点",
        "このグループは {count} 個の集約グループからサブグループとして参照されているため、"
        "チャンネルタイプと検証エンドポイントは変更できません",
    ),
    "Reorder items cannot be empty": (
        "排序项不能为空",
        "並び替える項目を空にすることはできません",
    ),
    "Reorder item contains invalid group ID": (
        "排序项包含无效的分组 ID",
        "並び替える項目に無効なグループ ID が含まれています",
    ),
    "Sort value cannot be negative": (
        "排序值不能为负数",
        "並び順の値を負にすることはできません",
    ),
    "Duplicate group ID in reorder items: {id}": (
        "排序项中的分组 ID 重复：{id}",
        "並び替える項目でグループ ID が重複しています：{id}",
    ),
    "Reorder items contain non-existent group": (
        "排序项包含不存在的分组",
        "並び替える項目に存在しないグループが含まれています",
    ),
    "Invalid config format: {error}": (
        "配置格式无效：{error}",
        "設定の形式が無効です：{error}",
    ),
    "Failed to process header rules: {error}": (
        "处理请求头规则失败：{error}",
        "ヘッダールールを処理できませんでした：{error}",
    ),
    "Proxy key is required": ("缺少代理密钥", "プロキシキーは必須です"),
    "Invalid or unauthorized proxy key": (
        "代理密钥无效或未授权",
        "プロキシキーが無効、または許可されていません",
    ),
    # The encryption's scenarios.
    "ENCRYPTION_KEY is set, but the keys in the database are not encrypted": (
        "已设置 ENCRYPTION_KEY，但数据库中的密钥未加密",
        "ENCRYPTION_KEY は設定されていますが、データベースのキーは暗号化されていません",
    ),
    "Stop the service and encrypt them: gptload migrate-keys --to KEY": (
        "请停止服务并加密密钥：gptload migrate-keys --to KEY",
        "サービスを止めてキーを暗号化してください：gptload migrate-keys --to KEY",
    ),
    "The keys in the database are encrypted, but ENCRYPTION_KEY is not set": (
        "数据库中的密钥已加密，但未设置 ENCRYPTION_KEY",
        "データベースのキーは暗号化されていますが、ENCRYPTION_KEY が設定されていません",
    ),
    "Start with their ENCRYPTION_KEY, or decrypt them: gptload migrate-keys --from KEY": (
        "请使用加密时的 ENCRYPTION_KEY 启动，或解密密钥：gptload migrate-keys --from KEY",
        "暗号化したときの ENCRYPTION_KEY で起動するか、復号してください："
        "gptload migrate-keys --from KEY",
    ),
    "Start with their ENCRYPTION_KEY, or change it: gptload migrate-keys --from OLD --to NEW": (
        "请使用加密时的 ENCRYPTION_KEY 启动，或更换它：gptload migrate-keys --from OLD --to NEW",
        "暗号化したときの ENCRYPTION_KEY で起動するか、変更してください："
        "gptload migrate-keys --from OLD --to NEW",
    ),
    "The keys in the database were encrypted with another ENCRYPTION_KEY": (
        "数据库中的密钥是用另一个 ENCRYPTION_KEY 加密的",
        "データベースのキーは別の ENCRYPTION_KEY で暗号化されています",
    ),
    # The warnings about weak secrets.
    "ENCRYPTION_KEY is not set: API keys are stored as plain text": (
        "未设置 ENCRYPTION_KEY:API 密钥以明文存储",
        "ENCRYPTION_KEY が設定されていません：API キーは平文で保存されます",
    ),
    "Set it before you add keys, and keep a copy: without it they are lost.": (
        "请在添加密钥之前设置并妥善备份：丢失后密钥将无法恢复。",
        "キーを追加する前に設定し、控えを保管してください。失うとキーは復元できません。",
    ),
    "{name} has only {count} characters": (
        "{name} 只有 {count} 个字符",
        "{name} は {count} 文字しかありません",
    ),
    "Use at least {count} characters; {more} are better.": (
        "请至少使用 {count} 个字符，建议 {more} 个。",
        "{count} 文字以上を使ってください。{more} 文字あればより安全です。",
    ),
    "{name} has {count} characters": ("{name} 有 {count} 个字符", "{name} は {count} 文字です"),
    "{more} or more are better.": (
        "建议使用 {more} 个或更多字符。",
        "{more} 文字以上をお勧めします。",
    ),
    '{name} contains the guessable word "{word}"': (
        "{name} 包含容易猜到的词“{word}”",
        "{name} に推測されやすい語「{word}」が含まれています",
    ),
    "{name} is a guessable word": (
        "{name} 是容易猜到的词",
        "{name} は推測されやすい語です",
    ),
    "Use random characters, such as `openssl rand -hex 32` prints.": (
        "请使用随机字符，例如 `openssl rand -hex 32` 的输出。",
        "`openssl rand -hex 32` の出力のような、ランダムな文字列を使ってください。",
    ),
    "{name} uses too few kinds of characters": (
        "{name} 使用的字符种类过少",
        "{name} の文字の種類が少なすぎます",
    ),
    "Mix upper case, lower case, digits and others.": (
        "请混合使用大写字母、小写字母、数字和其他字符。",
        "大文字、小文字、数字、記号を組み合わせてください。",
    ),
}

# Short words that mean something else in a message.
LABELS: Final[Mapping[str, tuple[str, str]]] = {
    "Success": ("成功请求", "成功"),
    "Failed": ("失败请求", "失敗"),
    "Invalid Keys": ("无效密钥", "無効なキー"),
    "Global Proxy Key": ("全局代理密钥", "グローバルプロキシキー"),
    "Group Proxy Key": ("分组代理密钥", "グループプロキシキー"),
    "Basic": ("基础参数", "基本設定"),
    "Request Settings": ("请求设置", "リクエスト設定"),
    "Key Configuration": ("密钥配置", "キー設定"),
}

_VALUE: Final = re.compile(r"\\\{(\w+)\\\}")
# Long fixed texts first, so that a general pattern never hides a special one.
_PATTERNS: Final = [
    (re.compile(_VALUE.sub(r"(?P<\1>.*)", re.escape(english)), re.DOTALL), translations)
    for english, translations in sorted(MESSAGES.items(), key=lambda item: -len(item[0]))
    if "{" in english
]


def preferred(accept_language: str) -> Language:
    """The language that an `Accept-Language` field asks for most; English if it names none.

    Source: RFC 9110 §12.5.4. A region doesn't matter, and of equal weights the first wins.
    """
    best: Language = "en"
    highest = 0.0
    for tag in accept_language.split(",")[:_MOST_TAGS]:
        name, _, parameters = tag.partition(";")
        code = name.strip().lower().partition("-")[0]
        weight = _weight(parameters)
        if weight <= highest:
            continue
        if code == "en":
            best, highest = "en", weight
        elif code == "zh":
            best, highest = "zh", weight
        elif code == "ja":
            best, highest = "ja", weight
    return best


def _weight(parameters: str) -> float:
    found = re.search(r"\bq\s*=\s*([01](?:\.\d{0,3})?)\s*$", parameters)
    if found is None:
        return 0.0 if "q" in parameters else 1.0
    return min(float(found[1]), 1.0)


def message(text: str, language: Language) -> str:
    """A message in that language; English if there is no translation."""
    column = _COLUMN.get(language)
    return text if column is None else _translated(text, column)


@lru_cache(maxsize=1024)
def _translated(text: str, column: int) -> str:
    known = MESSAGES.get(text)
    if known is not None:
        return known[column]
    if len(text) > _LONGEST_MESSAGE:
        return text
    for pattern, translations in _PATTERNS:
        found = pattern.fullmatch(text)
        if found is not None:
            return translations[column].format_map(found.groupdict())
    return text


def label(text: str, language: Language) -> str:
    """A short word of a form or a chart in that language."""
    column = _COLUMN.get(language)
    return text if column is None or text not in LABELS else LABELS[text][column]
